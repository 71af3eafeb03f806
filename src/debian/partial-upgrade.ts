/**
 * Upgrades one package to its newest version while the others keep their locked versions.
 *
 * Other packages are upgraded only if necessary, recursively: packages of the same source, which depend on each other's
 * exact versions; dependencies of the new version that the locked version does not satisfy or that are missing; packages
 * that it breaks in their locked version. Their versions come from the newest closure. That the locked packages fit
 * together was established when they were locked.
 */
import type { Artifact } from '../artifacts/artifact.ts';
import type { PlannedPackage } from './index.ts';
import { type Dependency, parseRelations } from './relations.ts';
import { satisfies } from './version.ts';

/** The packages to upgrade, including `wanted`; empty if the newest closure does not contain it. */
export function movingPackages(
  newest: readonly PlannedPackage[],
  pinned: ReadonlyMap<string, Artifact>,
  wanted: string,
): ReadonlySet<string> {
  const byName = new Map(newest.map((one) => [one.artifact.name, one]));
  const moving = new Set<string>();
  const queue: PlannedPackage[] = [];
  const move = (name: string): void => {
    const one = byName.get(name);
    if (!one || moving.has(name)) return;
    moving.add(name);
    queue.push(one);
  };
  const source = byName.get(wanted)?.source;
  for (const one of newest)
    if (one.artifact.name === wanted || (one.source === source && pinned.has(one.artifact.name)))
      move(one.artifact.name);
  const versionOf = (name: string): string | undefined =>
    (moving.has(name) ? byName.get(name)?.artifact : pinned.get(name))?.version;
  for (let one = queue.shift(); one; one = queue.shift()) {
    const { name } = one.artifact;
    for (const group of parseRelations(one.needs.join(', '), one.architecture, name)) {
      if (group.some((choice) => holds(choice, versionOf(choice.name)))) continue;
      const choice = group.find((dependency) => holds(dependency, byName.get(dependency.name)?.artifact.version));
      if (choice) move(choice.name);
    }
    // The dependency may be on a virtual name.
    for (const other of newest)
      if (!pinned.has(other.artifact.name) && other.because.includes(name)) move(other.artifact.name);
    for (const [broken] of parseRelations(one.breaks.join(', '), one.architecture, name))
      if (broken && broken.name !== name && holds(broken, versionOf(broken.name))) move(broken.name);
  }
  return moving;
}

function holds({ relation, version }: Dependency, present: string | undefined): boolean {
  if (present === undefined) return false;
  return !relation || satisfies(present, relation, version as string);
}
