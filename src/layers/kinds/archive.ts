/** `archive`: members of a downloaded tar (gzip, xz, zstd or plain) or zip. */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { Tree } from '../../tree/tree.ts';
import { pinDownload } from '../download.ts';
import { globMatcher } from '../glob.ts';
import type { PlainKind } from '../step.ts';
import { checksumSchema, imagePath, modeSchema, parseMode } from './schema.ts';

const schema = z.strictObject({
  url: z.string(),
  checksum: checksumSchema.optional(),
  /** Globs over member paths, before `strip`. Everything when absent. */
  select: z.array(z.string()).optional(),
  /** Leading path segments to drop; members with fewer are left out. */
  strip: z.int().min(0).optional(),
  /** New names after `strip`, old to new. */
  rename: z.record(z.string(), imagePath).optional(),
  into: imagePath.optional(),
  /** Permissions for every file; the archive's own otherwise. */
  mode: modeSchema.optional(),
});

export const archiveKind: PlainKind<z.infer<typeof schema>> = {
  name: 'archive',
  version: 1,
  schema,
  summary: 'members of a tar (gzip, xz, zstd) or zip: select, strip, rename, mode',

  resolve(step, context, common) {
    return pinDownload(
      { url: step.url, checksum: step.checksum, name: step.url.split('/').at(-1) ?? step.url },
      context,
      common,
    );
  },

  async tree(step, pins, context) {
    const tree = new Tree();
    const selected = step.select ? globMatcher(step.select) : () => true;
    for (const artifact of pins.artifacts) {
      const fetched = await context.fetch(artifact);
      const task = context.reporter.task('unpack', artifact.name);
      try {
        const entries = await context.unpacker.unpack(digestOf([artifact.digest, step.select ?? null]).slice(7), {
          owner: context.owner,
          file: fetched.path,
          format: step.url.endsWith('.zip') ? 'zip' : 'tar',
          select: selected,
          onProgress: (bytes) => task.progress(bytes),
        });
        const place = (path: string): string | undefined => {
          const parts = path.split('/').slice(step.strip ?? 0);
          if (parts.length === 0) return undefined;
          const stripped = parts.join('/');
          const renamed = step.rename?.[stripped] ?? stripped;
          return step.into ? `${step.into}/${renamed}` : renamed;
        };
        let files = 0;
        for (const entry of entries) {
          const path = place(entry.path);
          // A folder of the archive says nothing about a folder of the image, unless the archive is the image's root.
          if (path === undefined || (entry.type === 'directory' && step.into)) continue;
          if (entry.type === 'file') {
            files++;
            tree.add({ ...entry, path, uid: 0, gid: 0, mode: parseMode(step.mode, entry.mode), owner: context.owner });
          } else if (entry.type === 'hardlink') {
            const target = place(entry.target);
            if (target === undefined)
              throw new KinaError(
                'archive',
                `${artifact.name}: ${entry.path} is a hard link to ${entry.target}, which \`strip\` drops`,
              );
            tree.add({
              ...entry,
              path,
              target,
              uid: 0,
              gid: 0,
              mode: parseMode(step.mode, entry.mode),
              owner: context.owner,
            });
          } else tree.add({ ...entry, path, uid: 0, gid: 0, owner: context.owner });
        }
        if (files === 0)
          throw new KinaError('recipe', `nothing in ${artifact.url} matches the step's selection`, {
            details: step.select?.map((s) => `select: ${s}`) ?? [],
            hint: 'List the archive with `tar -tf` and compare the paths.',
          });
        task.done();
      } catch (error) {
        task.fail();
        throw error;
      }
    }
    return { tree };
  },
};
