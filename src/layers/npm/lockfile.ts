/**
 * npm's `package-lock.json`: which packages an installed program needs on a platform, and the place of each.
 *
 * The file has a key per place, `node_modules/cliui/node_modules/ansi-regex`. Starting with the root's dependencies, a name is
 * looked up like Node.js does: in `node_modules` of the package's folder, then of every folder above. What is reached is needed.
 * Development tools and dependencies of optional packages for other platforms are not reached (docs.npmjs.com,
 * "package-lock.json").
 */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import type { Architecture } from '../../oci/platform.ts';

const names = z.record(z.string(), z.string());
const list = z.union([z.string().transform((one) => [one]), z.array(z.string())]);
const packageSchema = z.looseObject({
  name: z.string().optional(),
  version: z.string().optional(),
  resolved: z.string().optional(),
  integrity: z.string().optional(),
  link: z.boolean().optional(),
  inBundle: z.boolean().optional(),
  hasInstallScript: z.boolean().optional(),
  os: list.optional(),
  cpu: list.optional(),
  libc: list.optional(),
  dependencies: names.optional(),
  optionalDependencies: names.optional(),
  peerDependencies: names.optional(),
  peerDependenciesMeta: z.record(z.string(), z.looseObject({ optional: z.boolean().optional() })).optional(),
});
type LockedPackage = z.infer<typeof packageSchema>;
const lockfileSchema = z.looseObject({
  lockfileVersion: z.union([z.literal(2), z.literal(3)]),
  packages: z.record(z.string(), packageSchema),
});
export type PackageLock = z.infer<typeof lockfileSchema>['packages'];

export interface NpmPackage {
  /** Relative to the root package: `node_modules/cliui/node_modules/ansi-regex`. */
  readonly place: string;
  readonly name: string;
  readonly version: string;
  /** Undefined for a package that is bundled in the archive of another. */
  readonly archive: { readonly url: string; readonly integrity: string } | undefined;
  /** Whether it has an install script. */
  readonly hasScript: boolean;
}

/** `from` names the file in errors. Throws `recipe`. */
export function parsePackageLock(text: string, from: string): PackageLock {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new KinaError('recipe', `${from} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const parsed = lockfileSchema.safeParse(value);
  if (parsed.success) return parsed.data.packages;
  throw new KinaError('recipe', `${from} is not a package-lock.json of version 2 or 3`, {
    details: parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    hint: 'Write it with `npm install --package-lock-only --lockfile-version 3`.',
  });
}

export interface NeededOptions {
  readonly architecture: Architecture | undefined;
  readonly exclude: readonly string[];
  /** Base URL of the registry, for packages without a URL in the file. */
  readonly registry: string | undefined;
}

/**
 * The packages that the root needs, sorted by place. `architecture` undefined: for any platform. Throws `recipe` for
 * packages that are missing, made for another platform, or have no archive with a checksum.
 */
export function neededPackages(lock: PackageLock, from: string, options: NeededOptions): NpmPackage[] {
  const problems: string[] = [];
  const found = new Map<string, NpmPackage>();
  const visit = (place: string): void => {
    for (const { name, optional } of dependenciesOf(lock[place] ?? {})) {
      if (options.exclude.includes(name)) continue;
      const next = placeOf(lock, place, name);
      const dependency = next === undefined ? undefined : lock[next];
      if (next === undefined || dependency === undefined) {
        if (!optional) problems.push(`${place || 'the root'} needs ${name}, which is not in the file`);
      } else if (!suits(dependency, options.architecture)) {
        if (!optional) problems.push(`${next} is not for linux/${options.architecture} with glibc`);
      } else if (!found.has(next)) {
        found.set(next, packageAt(next, dependency, options.registry, problems));
        visit(next);
      }
    }
  };
  visit('');
  if (problems.length > 0)
    throw new KinaError('recipe', `${from} cannot be used`, {
      details: [...new Set(problems)],
      hint: 'kina takes packages from archives with a checksum: no links, folders or repositories.',
    });
  return [...found.values()].sort((a, b) => (a.place < b.place ? -1 : 1));
}

interface Dependency {
  readonly name: string;
  readonly optional: boolean;
}

/** npm lists optional dependencies in both places; peers are installed since npm 7. */
function dependenciesOf(one: LockedPackage): Dependency[] {
  const optional = Object.keys(one.optionalDependencies ?? {});
  const required = Object.keys(one.dependencies ?? {}).filter((name) => !optional.includes(name));
  const peers = Object.keys(one.peerDependencies ?? {});
  return [
    ...required.map((name) => ({ name, optional: false })),
    ...optional.map((name) => ({ name, optional: true })),
    ...peers.map((name) => ({ name, optional: one.peerDependenciesMeta?.[name]?.optional ?? false })),
  ];
}

/** Node.js, "Loading from node_modules folders". */
function placeOf(lock: PackageLock, from: string, name: string): string | undefined {
  for (let folder = from; ; ) {
    const place = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (lock[place]) return place;
    if (folder === '') return undefined;
    folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1));
  }
}

/** Node.js's names of what Go, Debian and OCI call amd64 and arm64. */
const cpus: Readonly<Record<Architecture, string>> = { amd64: 'x64', arm64: 'arm64' };

function suits({ os, cpu, libc }: LockedPackage, architecture: Architecture | undefined): boolean {
  if (architecture === undefined) return true;
  return allows(os, 'linux') && allows(cpu, cpus[architecture]) && allows(libc, 'glibc');
}

/** `["linux"]` names what it is for, `["!win32"]` what it is not for (docs.npmjs.com, "package.json", os). */
function allows(wanted: readonly string[] | undefined, value: string): boolean {
  if (wanted === undefined || wanted.includes('any')) return true;
  if (wanted.includes(`!${value}`)) return false;
  const named = wanted.filter((one) => !one.startsWith('!'));
  return named.length === 0 || named.includes(value);
}

function packageAt(place: string, one: LockedPackage, registry: string | undefined, problems: string[]): NpmPackage {
  const folder = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
  // The folder of an alias does not have the package's name.
  const name = one.name ?? folder;
  const { version = '', integrity, resolved, inBundle = false, hasInstallScript: hasScript = false } = one;
  const base = { place, name, version, hasScript };
  if (inBundle) return { ...base, archive: undefined };
  const file = `${name}/-/${name.slice(name.lastIndexOf('/') + 1)}-${version}.tgz`;
  const url = resolved ?? (registry === undefined ? undefined : `${registry.replace(/\/$/, '')}/${file}`);
  if (url === undefined) {
    problems.push(`${place} has no URL: the step needs a registry`);
    return { ...base, archive: undefined };
  }
  if (one.link || version === '' || !/^https?:/.test(url)) problems.push(`${place} comes from ${url}`);
  else if (integrity === undefined) problems.push(`${place} has no integrity`);
  return { ...base, archive: { url, integrity: integrity ?? '' } };
}
