/**
 * Taking one package's newest version while the others stay as a lock has them.
 *
 * What comes along is what has to: packages of the same source, which depend on each other's exact versions; what the new
 * version depends on and the pinned version does not satisfy, or is not there; what it breaks in its pinned version. So
 * on for all of them. The newest closure says what these are; that the pinned packages fit each other was settled when
 * they were locked.
 */
import type { Artifact } from '../artifacts/artifact.ts';
import type { PlannedPackage } from './index.ts';
import { type Dependency, parseRelations } from './relations.ts';
import { satisfies } from './version.ts';

/** The names whose newest version is taken, `wanted` included; empty when the newest closure does not have it. */
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
    // Perhaps what it needs goes by a virtual name.
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
