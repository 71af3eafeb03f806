/**
 * Chooses the packages of a node: the requested ones, the essential ones, and their dependencies, as apt does on an empty
 * system without recommends (an integration test compares the two).
 *
 * Each name has one candidate (pin, then suite priority, then highest version). All requested packages are selected before
 * any dependency, so that `a | b` is satisfied by a requested `b`. Dependencies are resolved depth first; an alternative
 * that cannot be installed is undone and the next one is tried. Earlier choices are not revisited, as in apt: if that
 * fails, request the wanted package by name, as the error suggests.
 */
import { KinaError } from '../host/errors.ts';
import { comparePaths } from '../tree/tree.ts';
import type { PackageIndex, PackageRecord } from './packages.ts';
import { type Dependency, formatDependency, formatGroup, type OrGroup } from './relations.ts';
import { compareVersions, satisfies } from './version.ts';

/** One `Packages` file of a suite. */
export interface SuiteIndex {
  readonly archive: string;
  readonly suite: string;
  readonly codename: string;
  readonly component: string;
  /** See `ArchiveSpec`. */
  readonly priority: number;
  /** Date of the signed index. */
  readonly released: Date;
  readonly packages: PackageIndex;
}

export interface ClosureRequest {
  readonly indexes: readonly SuiteIndex[];
  readonly architecture: string;
  /** `name`, `name=version` or `name/suite`. */
  readonly packages: readonly string[];
  /** Names that satisfy dependencies without being installed: packages that only maintainer scripts need. */
  readonly exclude?: readonly string[];
  /** Packages that are already installed: never in the result, but they satisfy dependencies and can conflict. */
  readonly installed?: readonly PackageRecord[];
  /** Add every package marked `Essential: yes`, as debootstrap's minbase does. */
  readonly essential: boolean;
  /** Name to suite or codename: takes the candidate from there, whatever the priorities. */
  readonly pins?: Readonly<Record<string, string>>;
}

export interface SelectedPackage {
  readonly record: PackageRecord;
  readonly archive: string;
  readonly suite: string;
  readonly released: Date;
  /** `requested`, `essential`, and the names of the selected packages that depend on it; sorted. */
  readonly because: readonly string[];
}

interface Candidate {
  readonly record: PackageRecord;
  readonly index: SuiteIndex | undefined;
}

/** Why a package cannot be installed; `lasting` if no other choice of packages would change that. */
interface Problem {
  readonly text: string;
  readonly why: readonly Problem[];
  readonly lasting: boolean;
}

/** The closure, sorted by name. Throws `debian` with the chain of reasons if there is none. */
export function resolveClosure(request: ClosureRequest): SelectedPackage[] {
  const resolver = new Resolver(request);
  const problems = resolver.run();
  if (problems.length > 0)
    throw new KinaError('debian', `the packages cannot be installed together (${request.architecture})`, {
      details: problems.flatMap((problem) => outline(problem, 0)),
      hint: 'A suite may be missing from the recipe; if there are alternatives, add the one you want to the packages.',
    });
  return resolver.result();
}

class Resolver {
  readonly #request: ClosureRequest;
  readonly #excluded: ReadonlySet<string>;
  readonly #selected = new Map<string, Candidate>();
  /** Virtual name to the selected packages that provide it. */
  readonly #provided = new Map<string, Candidate[]>();
  /** Names in the order of selection, for undoing. */
  readonly #trail: string[] = [];
  readonly #hopeless = new Map<PackageRecord, Problem>();
  readonly #requested = new Map<string, { version?: string; suite?: string }>();
  readonly #roots = new Map<string, Set<string>>();
  readonly #mentions = new Map<string, number>();

  constructor(request: ClosureRequest) {
    this.#request = request;
    this.#excluded = new Set(request.exclude);
    for (const [name, suite] of Object.entries(request.pins ?? {})) this.#requested.set(name, { suite });
    for (const record of request.installed ?? []) this.#select({ record, index: undefined });
  }

  run(): Problem[] {
    const problems: Problem[] = [];
    const roots: Candidate[] = [];
    const root = (candidate: Candidate | Problem, reason: string) => {
      if ('text' in candidate) return problems.push(candidate);
      const { name } = candidate.record;
      if (this.#excluded.has(name)) return 0;
      const reasons = this.#roots.get(name);
      if (reasons) reasons.add(reason);
      else this.#roots.set(name, new Set([reason]));
      return roots.push(candidate);
    };
    const wanted = this.#request.packages.map((text) => this.#parseRequest(text));
    for (const name of wanted) root(this.#root(name), 'requested');
    if (this.#request.essential) for (const name of this.#essential()) root(this.#root(name), 'essential');
    if (problems.length > 0) return problems;
    const fresh: Candidate[] = [];
    for (const candidate of roots) {
      if (this.#selected.has(candidate.record.name)) continue;
      const clash = this.#clash(candidate);
      if (clash) problems.push(clash);
      else {
        this.#select(candidate);
        fresh.push(candidate);
      }
    }
    if (problems.length > 0) return problems;
    return fresh.flatMap((candidate) => this.#expand(candidate) ?? []);
  }

  result(): SelectedPackage[] {
    const because = new Map<string, Set<string>>();
    for (const candidate of this.#selected.values())
      for (const group of dependencies(candidate.record))
        for (const dependency of group) {
          const met = this.#metBy(dependency);
          if (!met || met === candidate) continue;
          const reasons = because.get(met.record.name) ?? new Set();
          because.set(met.record.name, reasons.add(candidate.record.name));
          break;
        }
    const result: SelectedPackage[] = [];
    for (const { record, index } of this.#selected.values()) {
      if (!index) continue;
      const reasons = [...(this.#roots.get(record.name) ?? []), ...[...(because.get(record.name) ?? [])].sort()];
      result.push({ record, archive: index.archive, suite: index.suite, released: index.released, because: reasons });
    }
    return result.sort((a, b) => comparePaths(a.record.name, b.record.name));
  }

  #parseRequest(text: string): string {
    const match = /^([a-z0-9][a-z0-9+.-]*)(?:=(\S+)|\/(\S+))?$/.exec(text);
    if (!match)
      throw new KinaError('recipe', `invalid package: ${JSON.stringify(text)}`, {
        hint: 'Use NAME, NAME=VERSION or NAME/SUITE.',
      });
    const [, name, version, suite] = match;
    if (version || suite) this.#requested.set(name as string, version ? { version } : { suite: suite as string });
    return name as string;
  }

  #essential(): string[] {
    const names = new Set(this.#request.indexes.flatMap((index) => index.packages.essential));
    // A name may be essential in one suite only; the candidate decides.
    return [...names].filter((name) => this.#candidate(name)?.record.essential).sort();
  }

  /** The package for a requested name: the package itself, or the only provider of a virtual name. */
  #root(name: string): Candidate | Problem {
    const candidate = this.#candidate(name);
    if (candidate) return candidate;
    const versions = this.#all(name);
    const selector = this.#requested.get(name);
    if (selector && versions.length > 0) {
      const known = versions.map(({ record, index }) => `${record.version} (${index?.suite})`).join(', ');
      return lasting(`${name}: no version ${selector.version ?? `in ${selector.suite}`}; available: ${known}`);
    }
    const providers = this.#providers({ name });
    if (providers.length === 1) return providers[0] as Candidate;
    if (providers.length > 1) {
      const names = providers
        .map(({ record }) => record.name)
        .sort()
        .join(', ');
      return lasting(`${name} is a virtual package; choose one of ${names}`);
    }
    const suites = [...new Set(this.#request.indexes.map((index) => index.suite))].join(', ');
    return lasting(`${name}: no such package in ${suites || 'no index'} for ${this.#request.architecture}`);
  }

  #all(name: string): Candidate[] {
    return this.#request.indexes.flatMap((index) => index.packages.versions(name).map((record) => ({ record, index })));
  }

  #candidate(name: string): Candidate | undefined {
    const selector = this.#requested.get(name);
    let best: Candidate | undefined;
    for (const candidate of this.#all(name)) {
      const { record, index } = candidate;
      if (selector?.version !== undefined && record.version !== selector.version) continue;
      if (selector?.suite !== undefined && index?.suite !== selector.suite && index?.codename !== selector.suite)
        continue;
      if (!best || preference(candidate, best) > 0) best = candidate;
    }
    return best;
  }

  #providers(dependency: Dependency): Candidate[] {
    const names = new Set(this.#request.indexes.flatMap((index) => index.packages.providers(dependency.name)));
    const found: Candidate[] = [];
    for (const name of names) {
      const candidate = this.#candidate(name);
      if (candidate && this.#meets(dependency, candidate.record)) found.push(candidate);
    }
    if (found.length < 2) return found;
    // Of equal candidates, apt takes the one that the indexes mention last.
    const placed = found.map((candidate) => ({ candidate, place: this.#firstMention(candidate.record.name) }));
    placed.sort((a, b) => rank(a.candidate.record.priority) - rank(b.candidate.record.priority) || b.place - a.place);
    return placed.map(({ candidate }) => candidate);
  }

  /** Position of the first mention of a name in all indexes, one after the other. */
  #firstMention(name: string): number {
    let place = this.#mentions.get(name);
    if (place === undefined) {
      // Larger than any index.
      const length = 2 ** 40;
      const places = this.#request.indexes.map(
        ({ packages }, at) => at * length + (packages.firstMention(name) ?? NaN),
      );
      place = places.find((one) => !Number.isNaN(one)) ?? 0;
      this.#mentions.set(name, place);
    }
    return place;
  }

  /** Whether a package satisfies a dependency, by its name or by what it provides. */
  #meets(dependency: Dependency, record: PackageRecord): boolean {
    const { qualifier, relation, version } = dependency;
    if (qualifier === 'any' && record.multiArch !== 'allowed') return false;
    if (qualifier && qualifier !== 'any' && qualifier !== 'native' && qualifier !== this.#request.architecture)
      return false;
    if (record.name === dependency.name && (!relation || satisfies(record.version, relation, version as string)))
      return true;
    // An unversioned `Provides` does not satisfy a versioned dependency (Policy 7.5).
    return record.provides.some(
      (p) =>
        p.name === dependency.name &&
        (!relation || (p.version !== undefined && satisfies(p.version, relation, version as string))),
    );
  }

  #metBy(dependency: Dependency): Candidate | undefined {
    const byName = this.#selected.get(dependency.name);
    if (byName && this.#meets(dependency, byName.record)) return byName;
    return this.#provided.get(dependency.name)?.find(({ record }) => this.#meets(dependency, record));
  }

  #select(candidate: Candidate): void {
    this.#selected.set(candidate.record.name, candidate);
    this.#trail.push(candidate.record.name);
    for (const { name } of candidate.record.provides) {
      const others = this.#provided.get(name);
      if (others) others.push(candidate);
      else this.#provided.set(name, [candidate]);
    }
  }

  #undo(mark: number): void {
    for (const name of this.#trail.splice(mark)) {
      const candidate = this.#selected.get(name) as Candidate;
      this.#selected.delete(name);
      for (const provided of candidate.record.provides) {
        const others = this.#provided.get(provided.name) as Candidate[];
        others.splice(others.indexOf(candidate), 1);
      }
    }
  }

  /** Why a package conflicts with the selected ones, if it does. */
  #clash(candidate: Candidate): Problem | undefined {
    const { record } = candidate;
    const same = this.#selected.get(record.name);
    if (same) return passing(`${label(record)}: ${same.record.version} is already selected`);
    for (const { record: other } of this.#selected.values()) {
      const against = this.#hostile(record, other) ?? this.#hostile(other, record);
      if (against) return passing(against);
    }
    return undefined;
  }

  #hostile(a: PackageRecord, b: PackageRecord): string | undefined {
    for (const field of ['conflicts', 'breaks'] as const)
      for (const [dependency] of a[field])
        if (dependency && this.#meets({ ...dependency, qualifier: undefined } as Dependency, b))
          return `${label(a)} ${field === 'breaks' ? 'breaks' : 'conflicts with'} ${formatDependency(dependency)}: ${label(b)} is selected`;
    return undefined;
  }

  #install(candidate: Candidate): Problem | undefined {
    const known = this.#hopeless.get(candidate.record) ?? this.#clash(candidate);
    if (known) return known;
    const mark = this.#trail.length;
    this.#select(candidate);
    const problem = this.#expand(candidate);
    if (!problem) return undefined;
    this.#undo(mark);
    if (problem.lasting) this.#hopeless.set(candidate.record, problem);
    return problem;
  }

  #expand(candidate: Candidate): Problem | undefined {
    for (const group of dependencies(candidate.record)) {
      const problem = this.#satisfy(group, candidate);
      if (problem) return problem;
    }
    return undefined;
  }

  #satisfy(group: OrGroup, dependent: Candidate): Problem | undefined {
    if (group.some((dependency) => this.#excluded.has(dependency.name) || this.#metBy(dependency))) return undefined;
    const why: Problem[] = [];
    for (const dependency of group) {
      const targets = this.#targets(dependency, dependent.index);
      if (targets.length === 0) why.push(this.#absent(dependency));
      for (const target of targets) {
        const problem = this.#install(target);
        if (!problem) return undefined;
        why.push(problem);
      }
    }
    return {
      text: `${label(dependent.record)} depends on ${formatGroup(group)}`,
      why,
      lasting: why.every((problem) => problem.lasting),
    };
  }

  /** The packages that could satisfy a dependency, best first: the package of that name, then providers. */
  #targets(dependency: Dependency, suite: SuiteIndex | undefined): Candidate[] {
    const targets: Candidate[] = [];
    const candidate = this.#candidate(dependency.name);
    if (candidate && this.#meets(dependency, candidate.record)) targets.push(candidate);
    for (const provider of this.#providers(dependency)) if (provider !== candidate) targets.push(provider);
    if (targets.length > 0) return targets;
    // A package that was taken from a newer suite may need newer libraries than the candidates: use that suite too.
    return this.#all(dependency.name).filter(
      ({ record, index }) => index?.suite === suite?.suite && this.#meets(dependency, record),
    );
  }

  #absent(dependency: Dependency): Problem {
    const versions = this.#all(dependency.name).map(({ record }) => record.version);
    return lasting(
      versions.length > 0
        ? `${formatDependency(dependency)}: only ${versions.join(', ')} is available`
        : `${formatDependency(dependency)}: no such package`,
    );
  }
}

function dependencies(record: PackageRecord): OrGroup[] {
  return [...record.preDepends, ...record.depends];
}

/** Positive if `a` is the better candidate. */
function preference(a: Candidate, b: Candidate): number {
  return (a.index?.priority ?? 0) - (b.index?.priority ?? 0) || compareVersions(a.record.version, b.record.version);
}

const priorities = ['required', 'important', 'standard', 'optional'];

function rank(priority: string): number {
  const at = priorities.indexOf(priority);
  return at < 0 ? priorities.length : at;
}

function label(record: PackageRecord): string {
  return `${record.name} ${record.version}`;
}

function lasting(text: string): Problem {
  return { text, why: [], lasting: true };
}

function passing(text: string): Problem {
  return { text, why: [], lasting: false };
}

function outline(problem: Problem, depth: number): string[] {
  if (depth > 8) return [];
  return [`${'  '.repeat(depth)}${problem.text}`, ...problem.why.flatMap((why) => outline(why, depth + 1))];
}
