/** `file`: one file, from text in the recipe, from a file beside it, or from a download. */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { sha256 } from '../../host/json.ts';
import { bytesContent, sliceContent } from '../../tree/entry.ts';
import { Tree } from '../../tree/tree.ts';
import { pinDownload } from '../download.ts';
import { defineKind } from '../kind.ts';
import { readLocalFile } from '../local.ts';
import { noPins, type Pins } from '../step.ts';
import { expandTemplate } from '../template.ts';
import { checksumSchema, idSchema, modeSchema, nonEmptyPath, parseMode } from './schema.ts';

const schema = z
  .strictObject({
    path: nonEmptyPath,
    mode: modeSchema.optional(),
    uid: idSchema.optional(),
    gid: idSchema.optional(),
    /** Text; `${variables}` in it are expanded like everywhere in a recipe. */
    content: z.string().optional(),
    /** A file beside the recipe. */
    source: z.string().optional(),
    /** Expand `${variables}` in the source file. */
    template: z.boolean().optional(),
    url: z.string().optional(),
    checksum: checksumSchema.optional(),
  })
  .refine(
    (s) => [s.content, s.source, s.url].filter((v) => v !== undefined).length === 1,
    'give exactly one of content, source, url',
  );

export const fileKind = defineKind({
  name: 'file',
  version: 1,
  schema,
  summary: 'one file: inline content, a file beside the recipe (optionally a template), or a download',

  usesVariables: (step) => step.template === true,

  async resolve(step, context) {
    if (step.source !== undefined) {
      const digest = fileDigest(await readLocalFile(context.recipeFolder, step.source));
      return { pins: { ...noPins, inputs: { [step.source]: digest } } };
    }
    if (step.url === undefined) return { pins: noPins };
    return pinDownload({ type: 'binary', url: step.url, checksum: step.checksum, name: step.path }, context);
  },

  async checkLocal(step, pins, recipeFolder) {
    if (step.source !== undefined) await readPinned(step.source, pins, recipeFolder);
  },

  async tree(step, pins, context) {
    const tree = new Tree();
    const put = (content: ReturnType<typeof bytesContent>, defaultMode: number): void =>
      tree.add({
        type: 'file',
        path: step.path,
        mode: parseMode(step.mode, defaultMode),
        uid: step.uid ?? 0,
        gid: step.gid ?? 0,
        content,
        owner: context.owner,
      });
    if (step.content !== undefined) put(bytesContent(step.content), 0o644);
    else if (step.source !== undefined) {
      const { data, executable } = await readPinned(step.source, pins, context.recipeFolder);
      const bytes = step.template
        ? Buffer.from(expandTemplate(data.toString('utf8'), context.variables, step.source))
        : data;
      put(bytesContent(bytes), executable ? 0o755 : 0o644);
    } else
      for (const artifact of pins.artifacts) {
        const { path } = await context.fetcher.fetch(artifact);
        put(sliceContent(path, 0, artifact.size, artifact.digest), 0o644);
      }
    return { tree };
  },
});

type LocalFile = Awaited<ReturnType<typeof readLocalFile>>;

/** Covers what reaches the image: the bytes, and whether the file is executable. */
function fileDigest({ data, executable }: LocalFile): string {
  return executable ? `${sha256(data)} executable` : sha256(data);
}

async function readPinned(source: string, pins: Pins, recipeFolder: string): Promise<LocalFile> {
  const file = await readLocalFile(recipeFolder, source);
  if (fileDigest(file) === pins.inputs[source]) return file;
  throw new KinaError('lock', `${source} differs from the file that was locked`, {
    hint: 'Run `kina lock` again, or restore the file.',
  });
}
