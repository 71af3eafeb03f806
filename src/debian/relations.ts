/**
 * Relationship fields (Policy 7.1): `Depends: a (>= 1) | b:any [amd64], c`, parsed into AND-lists of OR-groups.
 */
import { KinaError } from '../host/errors.ts';
import type { Relation } from './version.ts';

/** One alternative. */
export interface Dependency {
  readonly name: string;
  /** After the colon: `any`, `native` or an architecture. */
  readonly qualifier?: string;
  readonly relation?: Relation;
  readonly version?: string;
}

/** Alternatives, the preferred one first. */
export type OrGroup = readonly Dependency[];

/** A provided name: virtual, optionally with a version (`Provides: x (= 1)`). */
export interface Provided {
  readonly name: string;
  readonly version?: string;
}

// name[:qualifier] [(relation version)] [[architectures]] [<build profiles>]; the last two only in source packages.
const alternative =
  /^([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?\s*(?:\[([^\]]*)\])?\s*(?:<[^>]*>\s*)*$/i;

/** Parses a relationship field for one architecture; alternatives for other architectures are dropped. */
export function parseRelations(text: string | undefined, architecture: string, from: string): OrGroup[] {
  if (!text) return [];
  const groups: OrGroup[] = [];
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const group: Dependency[] = [];
    for (const choice of part.split('|')) {
      const match = alternative.exec(choice.trim());
      if (!match)
        throw new KinaError('debian', `${from}: invalid relation ${JSON.stringify(choice.trim())}`, {
          hint: 'The package index is damaged; fetch it again.',
        });
      const [, name, qualifier, relation, version, restriction] = match;
      if (restriction !== undefined && !concerns(restriction, architecture)) continue;
      group.push({
        name: name as string,
        ...(qualifier ? { qualifier } : {}),
        ...(relation ? { relation: canonical(relation), version: version as string } : {}),
      });
    }
    if (group.length > 0) groups.push(group);
  }
  return groups;
}

/** Parses `Provides`, where only `=` is meaningful. */
export function parseProvides(text: string | undefined, architecture: string, from: string): Provided[] {
  return parseRelations(text, architecture, from).map(([first]) => ({
    name: (first as Dependency).name,
    ...(first?.relation === '=' ? { version: first.version as string } : {}),
  }));
}

/** Formats a dependency as in a control file. */
export function formatDependency(dependency: Dependency): string {
  const name = dependency.qualifier ? `${dependency.name}:${dependency.qualifier}` : dependency.name;
  return dependency.relation ? `${name} (${dependency.relation} ${dependency.version})` : name;
}

export function formatGroup(group: OrGroup): string {
  return group.map(formatDependency).join(' | ');
}

function canonical(relation: string): Relation {
  return relation === '<' ? '<=' : relation === '>' ? '>=' : (relation as Relation);
}

/** `[amd64 arm64]` lists architectures, `[!amd64]` excludes one; `any` and `linux-any` are wildcards. */
function concerns(restriction: string, architecture: string): boolean {
  const names = restriction.trim().split(/\s+/);
  const matches = (name: string) =>
    name === 'any' || name === 'linux-any' || name === architecture || name === `linux-${architecture}`;
  if (names[0]?.startsWith('!')) return !names.some((name) => matches(name.slice(1)));
  return names.some(matches);
}
