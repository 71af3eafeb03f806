/**
 * `debian`: packages and what they depend on, from one or more suites, unpacked without dpkg.
 *
 * A later `debian` step of the same image builds on the earlier ones: their packages count as installed in exactly the
 * versions chosen, its archives are added to theirs, and what they exclude stays excluded unless it is named now.
 */
import { resolve as resolvePath } from 'node:path';
import { z } from 'zod';
import type { Artifact } from '../../artifacts/artifact.ts';
import { type ArchiveSpec, checkArchive } from '../../debian/archive.ts';
import { type OpenArchive, openArchives, type PlannedPackage, planPackages } from '../../debian/index.ts';
import { debianKeyring } from '../../debian/keyring.ts';
import { movingPackages } from '../../debian/partial-upgrade.ts';
import { defaultPruneRules, type PruneRule, pruner } from '../../debian/prune.ts';
import { unpackPackages } from '../../debian/unpack-all.ts';
import { KinaError } from '../../host/errors.ts';
import type { Session } from '../../session/session.ts';
import { defineKind } from '../kind.ts';
import { noPins, type PackageUpgrade, type ResolveContext } from '../step.ts';

const packageName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9+.-]+([=/][^\s]+)?$/, 'expected a package name, name=version or name/suite');

const schema = z.strictObject({
  archives: z
    .array(
      z.strictObject({
        archive: z.string(),
        suite: z.string(),
        components: z.array(z.string()).min(1),
        /** OpenPGP keyring, relative to the recipe; Debian's own keys when absent. */
        keyring: z.string().optional(),
        /** The suite may be missing from the archive. */
        optional: z.boolean().optional(),
        checkValidUntil: z.boolean().optional(),
        priority: z.int().optional(),
      }),
    )
    .min(1)
    .optional(),
  packages: z.array(packageName),
  exclude: z.array(packageName).optional(),
  /** Package name to suite: take it from there, whatever the priorities. */
  pins: z.record(z.string(), z.string()).optional(),
  /** Add every package marked Essential. */
  essential: z.boolean().optional(),
  /** Component name to package: records the package's upstream version. */
  components: z.record(z.string(), z.string()).optional(),
  prune: z
    .union([
      z.enum(['default', 'none']),
      z.array(z.strictObject({ action: z.enum(['exclude', 'include']), pattern: z.string() })),
    ])
    .optional(),
});
type DebianStep = z.infer<typeof schema>;

export function pruneRules(prune: DebianStep['prune']): readonly PruneRule[] {
  if (prune === 'none') return [];
  return prune === undefined || prune === 'default' ? defaultPruneRules : prune;
}

/** `1:1.6.20~ds1-1+deb12u3` to `1.6.20`: what the component's own project calls this version (Policy 5.6.12). */
export function upstreamVersion(version: string): string {
  return version
    .replace(/^\d+:/, '')
    .replace(/-[^-]*$/, '')
    .replace(/^.*\+really/, '')
    .replace(/[~+](ds|dfsg|git|deb|repack).*$/, '');
}

/** What the `debian` steps of an image have chosen so far. */
interface DebianState {
  readonly archives: readonly OpenArchive[];
  /** `name=version` of every package. */
  readonly chosen: readonly string[];
  readonly exclude: readonly string[];
}
const nothingChosen: DebianState = { archives: [], chosen: [], exclude: [] };

export const debianKind = defineKind<DebianStep, DebianState>({
  name: 'debian',
  version: 2,
  schema,
  ordered: true,
  installsPackages: true,
  components: (step) => Object.keys(step.components ?? {}),
  summary: 'Debian packages and their dependencies, from signed archives',

  async resolve(step, context) {
    const { previous = nothingChosen } = context;
    const { archives, dates } = await openStepArchives(step, context, previous);
    const named = new Set(step.packages.map((p) => p.replace(/[=/].*/, '')));
    const before = previous.exclude.filter((name) => !named.has(name));
    const exclude = [...new Set([...before, ...(step.exclude ?? [])])].sort();
    const planned = await planPackages(
      archives,
      {
        architecture: context.platform.architecture,
        packages: [...previous.chosen, ...step.packages],
        exclude,
        essential: step.essential ?? false,
        ...(step.pins ? { pins: step.pins } : {}),
      },
      archiveContext(context),
    );
    const known = new Set(previous.chosen.map((c) => c.split('=')[0]));
    const own = planned.filter((p) => !known.has(p.artifact.name)).map((p) => p.artifact);
    const artifacts = context.upgrade ? partlyUpgraded(own, planned, context.upgrade) : own;
    const components = componentVersions(step, [...artifacts, ...planned.map((p) => p.artifact)]);
    const chosen = planned.map((p) => `${p.artifact.name}=${p.artifact.version}`);
    return {
      pins: { ...noPins, artifacts, components, notes: dates },
      state: { archives, chosen, exclude },
    };
  },

  async tree(step, pins, context) {
    const rules = pruneRules(step.prune);
    const fetching = pins.artifacts.map((a) => context.fetcher.fetch(a));
    const total = pins.artifacts.reduce((sum, a) => sum + a.size, 0);
    const sizes = new Map(pins.artifacts.map((a) => [a.name, a.size]));
    const task = context.reporter.task(
      'unpack',
      `${pins.artifacts.length} packages (${context.platform.architecture})`,
    );
    let done = 0;
    try {
      const result = await unpackPackages(fetching, {
        unpacker: context.unpacker,
        keep: pruner(rules),
        done: (name) => {
          context.signal?.throwIfAborted();
          done += sizes.get(name) ?? 0;
          task.progress(done, total);
        },
      });
      task.done();
      return { tree: result.tree, packages: result.packages, prune: rules };
    } catch (error) {
      task.fail();
      throw error;
    }
  },
});

/** Versions of the components that the step names, found in the packages. */
function componentVersions(step: DebianStep, packages: readonly Artifact[]): Record<string, string> {
  const components: Record<string, string> = {};
  for (const [component, name] of Object.entries(step.components ?? {})) {
    const found = packages.find((p) => p.name === name);
    if (!found?.version)
      throw new KinaError('recipe', `components: ${component}: the package ${name} is not among those installed`, {
        hint: 'Name it under packages.',
      });
    components[component] = upstreamVersion(found.version);
  }
  return components;
}

/** The pinned packages, with the newest version of the one to upgrade and of what it needs. */
function partlyUpgraded(
  newest: readonly Artifact[],
  closure: readonly PlannedPackage[],
  { package: name, pins }: PackageUpgrade,
): Artifact[] {
  const pinned = new Map(pins.artifacts.map((artifact) => [artifact.name, artifact]));
  const moving = pinned.has(name) ? movingPackages(closure, pinned, name) : new Set<string>();
  return [...pins.artifacts.filter((a) => !moving.has(a.name)), ...newest.filter((a) => moving.has(a.name))];
}

/** How a session reaches the archives. */
export function archiveContext({
  store,
  transport,
  fetcher,
}: Pick<Session, 'store' | 'transport' | 'fetcher'>): Parameters<typeof planPackages>[2] {
  return {
    fetchBytes: (url) => transport.bytes(url, { limit: 8 << 20 }),
    fetchFile: (artifact) => fetcher.fetch(artifact),
    cache: {
      get: (key) => store.getRecord('debian-closure', key.slice(7)),
      put: (key, value) => store.putRecord('debian-closure', key.slice(7), value),
    },
  };
}

/** The archives of earlier steps and the step's own. The dates of its signed indexes go into the lock. */
async function openStepArchives(step: DebianStep, context: ResolveContext, previous: DebianState) {
  if (!step.archives && previous.archives.length === 0)
    throw new KinaError('recipe', 'the first debian step of a recipe must name its archives', {
      hint: 'Add archives: with archive, suite and components.',
    });
  for (const { archive } of step.archives ?? []) checkArchive(archive, context.debianBases);
  const opened = await Promise.all(
    (step.archives ?? []).map(async ({ optional, keyring, ...spec }) => {
      const trusted = keyring === undefined ? debianKeyring : resolvePath(context.recipeFolder, keyring);
      try {
        const checked = { checkValidUntil: context.debianCheckValidUntil, ...spec, keyring: trusted } as ArchiveSpec;
        return await openArchives([checked], archiveContext(context));
      } catch (error) {
        if (optional && error instanceof KinaError && error.code === 'not-found') return [];
        throw error;
      }
    }),
  );
  const own = opened.flat();
  const named = new Set(own.map((a) => `${a.spec.archive}/${a.spec.suite}`));
  const before = previous.archives.filter((a) => !named.has(`${a.spec.archive}/${a.spec.suite}`));
  return {
    archives: [...before, ...own],
    dates: Object.fromEntries(own.map((a) => [`${a.spec.archive}/${a.spec.suite}`, a.release.date.toISOString()])),
  };
}
