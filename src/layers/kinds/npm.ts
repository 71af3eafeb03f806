/**
 * `npm`: the packages that a `package-lock.json` names for a program, as npm would install them, without npm. The lock
 * file is npm's decision about versions; its SHA-512 of every archive is what vouches for the bytes.
 *
 * Nothing is executed, so a package that would run a script at installation is an error until the recipe says that it does
 * without. There is no `node_modules/.bin`: a recipe links what people call.
 */
import pLimit from 'p-limit';
import { z } from 'zod';
import { resolveArtifact } from '../../artifacts/checksums.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { Tree } from '../../tree/tree.ts';
import { globMatcher } from '../glob.ts';
import { defineKind } from '../kind.ts';
import { readLocalFile } from '../local.ts';
import { type NpmPackage, neededPackages, type PackageLock, parsePackageLock } from '../npm/lockfile.ts';
import { noPins, type Pins } from '../step.ts';
import { imagePath } from './schema.ts';

const schema = z.strictObject({
  /** A `package-lock.json` (or `npm-shrinkwrap.json`) beside the recipe. */
  lockfile: z.string(),
  /** Base URL of the npm registry of packages of which the file does not say where they come from. */
  registry: z.string().optional(),
  /** The folder of the program, which gets a `node_modules`. */
  into: imagePath,
  /** Names of packages that stay out, and what only they need. */
  exclude: z.array(z.string()).optional(),
  /** Globs over paths such as `node_modules/zod/src/index.ts`: files that stay out. */
  prune: z.array(z.string()).optional(),
  /** Names of packages that work without the scripts they run at installation. */
  withoutScripts: z.array(z.string()).optional(),
});
type Step = z.infer<typeof schema>;

export const npmKind = defineKind({
  name: 'npm',
  version: 1,
  schema,
  summary: 'the packages of a package-lock.json, with the checksums in it; no scripts are run',

  async resolve(step, context) {
    const lock = await readLock(step, context.recipeFolder);
    const packages = packagesOf(lock, step, context.platform.architecture);
    refuseScripts(packages, step);
    const archives = new Map(packages.flatMap((one) => (one.archive ? [[one.archive.url, one] as const] : [])));
    const limit = pLimit(8);
    const artifacts = await Promise.all(
      [...archives].map(([url, { name, version, archive }]) =>
        limit(() => {
          context.signal?.throwIfAborted();
          const integrity = { text: archive?.integrity ?? '', from: step.lockfile };
          return resolveArtifact({ type: 'npm', name, version, url, checksum: { integrity } }, context.checksums);
        }),
      ),
    );
    return { pins: { ...noPins, artifacts, inputs: { [step.lockfile]: digestOfAll(lock, step) } } };
  },

  async checkLocal(step, pins, recipeFolder) {
    await readPinned(step, pins, recipeFolder);
  },

  async tree(step, pins, context) {
    const lock = await readPinned(step, pins, context.recipeFolder);
    const artifacts = new Map(pins.artifacts.map((artifact) => [artifact.url, artifact]));
    const pruned = globMatcher(step.prune ?? []);
    const tree = new Tree();
    const task = context.reporter.task('unpack', context.owner);
    try {
      for (const { place, name, version, archive } of packagesOf(lock, step, context.platform.architecture)) {
        if (archive === undefined) continue;
        const artifact = artifacts.get(archive.url);
        if (!artifact)
          throw new KinaError('lock', `${context.owner}: ${name} ${version} is not pinned`, {
            hint: 'Run `kina lock` again.',
          });
        const { path: file } = await context.fetcher.fetch(artifact);
        const owner = `${context.owner}/${name}`;
        for (const entry of await context.unpacker.unpack(digestOf([artifact.digest, 'npm']).slice(7), {
          owner,
          file,
        })) {
          // As npm unpacks: files only, and one folder, mostly `package`, is in front of all of them.
          if (entry.type !== 'file') continue;
          const path = `${place}/${entry.path.slice(entry.path.indexOf('/') + 1)}`;
          if (pruned(path)) continue;
          const mode = (entry.mode & 0o111) === 0 ? 0o644 : 0o755;
          tree.add({ ...entry, path: `${step.into}/${path}`, uid: 0, gid: 0, mode, owner });
        }
      }
      task.done();
    } catch (error) {
      task.fail();
      throw error;
    }
    return { tree };
  },
});

async function readLock({ lockfile }: Step, recipeFolder: string): Promise<PackageLock> {
  return parsePackageLock((await readLocalFile(recipeFolder, lockfile)).data.toString('utf8'), lockfile);
}

async function readPinned(step: Step, pins: Pins, recipeFolder: string): Promise<PackageLock> {
  const lock = await readLock(step, recipeFolder);
  if (digestOfAll(lock, step) === pins.inputs[step.lockfile]) return lock;
  throw new KinaError('lock', `the packages in ${step.lockfile} are not those that were locked`, {
    hint: 'Run `kina lock` again, or restore the file.',
  });
}

function packagesOf(
  lock: PackageLock,
  { lockfile, registry, exclude = [] }: Step,
  architecture: Parameters<typeof neededPackages>[2]['architecture'],
): NpmPackage[] {
  return neededPackages(lock, lockfile, { architecture, exclude, registry });
}

/** Of the dependencies on any platform; development tools do not count. */
function digestOfAll(lock: PackageLock, step: Step): string {
  return digestOf(packagesOf(lock, step, undefined).map(({ place }) => [place, lock[place]]));
}

function refuseScripts(packages: readonly NpmPackage[], { lockfile, withoutScripts = [] }: Step): void {
  const scripted = packages.filter(({ name, hasScript }) => hasScript && !withoutScripts.includes(name));
  if (scripted.length === 0) return;
  throw new KinaError(
    'recipe',
    `packages of ${lockfile} run scripts when npm installs them, and kina executes nothing`,
    {
      details: scripted.map(({ place, version }) => `${place} ${version}`),
      hint: 'Name those that work without under `withoutScripts`, the others under `exclude`.',
    },
  );
}
