/** `archive`: members of a tar (gzip, xz, zstd or plain) or zip, downloaded or beside the recipe. */
import { createReadStream } from 'node:fs';
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { Entry } from '../../tree/entry.ts';
import { Tree } from '../../tree/tree.ts';
import { pinDownload } from '../download.ts';
import { globMatcher } from '../glob.ts';
import { defineKind } from '../kind.ts';
import { localDigest, localPath } from '../local.ts';
import { noPins, type Pins, type TreeContext } from '../step.ts';
import { checksumSchema, imagePath, modeSchema, parseMode } from './schema.ts';

const schema = z
  .strictObject({
    url: z.string().optional(),
    checksum: checksumSchema.optional(),
    /** A file beside the recipe. */
    source: z.string().optional(),
    /** Globs over member paths, before `strip`. Everything when absent. */
    select: z.array(z.string()).optional(),
    /** Leading path segments to drop; members with fewer are left out. */
    strip: z.int().min(0).optional(),
    /** New names after `strip`, old to new. */
    rename: z.record(z.string(), imagePath).optional(),
    into: imagePath.optional(),
    /** Permissions for every file; the archive's own otherwise. */
    mode: modeSchema.optional(),
  })
  .refine((s) => (s.url === undefined) !== (s.source === undefined), 'give exactly one of url, source')
  .refine((s) => s.checksum === undefined || s.url !== undefined, 'a checksum is for url: the lock pins a source');
type Step = z.infer<typeof schema>;

export const archiveKind = defineKind({
  name: 'archive',
  version: 1,
  schema,
  summary: 'members of a tar (gzip, xz, zstd) or zip, downloaded or beside the recipe: select, strip, rename, mode',

  async resolve({ url, source, checksum }, context) {
    if (url !== undefined)
      return pinDownload({ type: 'archive', url, checksum, name: url.split('/').at(-1) ?? url }, context);
    const path = source as string;
    return { pins: { ...noPins, inputs: { [path]: await localDigest(context.recipeFolder, path) } } };
  },

  async checkLocal({ source }, pins, recipeFolder) {
    if (source === undefined || (await localDigest(recipeFolder, source)) === pins.inputs[source]) return;
    throw new KinaError('lock', `${source} differs from the file that was locked`, {
      hint: 'Run `kina lock` again, or restore the file.',
    });
  },

  async tree(step, pins, context) {
    const tree = new Tree();
    for (const archive of await archives(step, pins, context)) {
      const task = context.reporter.task('unpack', archive.name);
      try {
        const entries = await context.unpacker.unpack(digestOf([archive.digest, step.select ?? null]).slice(7), {
          owner: context.owner,
          file: archive.path,
          format: archive.from.endsWith('.zip') ? 'zip' : 'tar',
          select: step.select ? globMatcher(step.select) : () => true,
          onProgress: (bytes) => task.progress(bytes),
        });
        addMembers(tree, entries, step, archive, context.owner);
        task.done();
      } catch (error) {
        task.fail();
        throw error;
      }
    }
    return { tree };
  },
});

/** Throws `recipe` when the step selects no file. */
function addMembers(tree: Tree, entries: readonly Entry[], step: Step, { name, from }: Archive, owner: string): void {
  const root = { uid: 0, gid: 0, owner };
  let files = 0;
  for (const entry of entries) {
    const path = placeOf(entry.path, step);
    // A directory of the archive says nothing about one of the image, unless the archive is the image's root.
    if (path === undefined || (entry.type === 'directory' && step.into)) continue;
    if (entry.type === 'file') {
      files++;
      tree.add({ ...entry, ...root, path, mode: parseMode(step.mode, entry.mode) });
    } else if (entry.type === 'hardlink') {
      const target = placeOf(entry.target, step);
      if (target === undefined)
        throw new KinaError(
          'archive',
          `${name}: ${entry.path} is a hard link to ${entry.target}, which \`strip\` drops`,
        );
      tree.add({ ...entry, ...root, path, target, mode: parseMode(step.mode, entry.mode) });
    } else tree.add({ ...entry, ...root, path });
  }
  if (files === 0)
    throw new KinaError('recipe', `nothing in ${from} matches the step's selection`, {
      details: step.select?.map((s) => `select: ${s}`) ?? [],
      hint: 'List the archive with `tar -tf` and compare the paths.',
    });
}

/** The place of a member in the image; undefined for one that `strip` drops. */
function placeOf(path: string, { strip = 0, rename, into }: Step): string | undefined {
  const parts = path.split('/').slice(strip);
  if (parts.length === 0) return undefined;
  const stripped = parts.join('/');
  const renamed = rename?.[stripped] ?? stripped;
  return into ? `${into}/${renamed}` : renamed;
}

interface Archive {
  readonly name: string;
  /** As the recipe says it. */
  readonly from: string;
  readonly digest: string;
  /** In the store, where it cannot change. */
  readonly path: string;
}

/** One, or none when it is optional and absent. */
async function archives({ source }: Step, pins: Pins, context: TreeContext): Promise<Archive[]> {
  if (source === undefined)
    return Promise.all(
      pins.artifacts.map(async (artifact) => ({
        name: artifact.name,
        from: artifact.url,
        digest: artifact.digest,
        path: (await context.fetcher.fetch(artifact)).path,
      })),
    );
  const file = createReadStream(localPath(context.recipeFolder, source), { highWaterMark: 1 << 20 });
  const { digest } = await context.store.write(file, { digest: pins.inputs[source] as Digest });
  return [{ name: source, from: source, digest, path: context.store.blobPath(digest) }];
}
