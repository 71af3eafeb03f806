/** `files`: a folder beside the recipe. */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { bytesContent } from '../../tree/entry.ts';
import { directory, file, symlink, Tree } from '../../tree/tree.ts';
import { defineKind } from '../kind.ts';
import { folderDigest, type LocalEntry, readLocalFolder } from '../local.ts';
import { noPins, type Pins } from '../step.ts';
import { imagePath } from './schema.ts';

const schema = z.strictObject({
  source: z.string(),
  into: imagePath.optional(),
});

export const filesKind = defineKind({
  name: 'files',
  version: 1,
  schema,
  summary: 'a local folder; files are 0644, or 0755 where executable',

  async resolve(step, context) {
    const digest = folderDigest(await readLocalFolder(context.recipeFolder, step.source));
    return { pins: { ...noPins, inputs: { [step.source]: digest } } };
  },

  async checkLocal(step, pins, recipeFolder) {
    await readPinned(step.source, pins, recipeFolder);
  },

  async tree(step, pins, context) {
    const entries = await readPinned(step.source, pins, context.recipeFolder);
    const tree = new Tree();
    for (const entry of entries) {
      const path = step.into ? `${step.into}/${entry.path}` : entry.path;
      if (entry.type === 'directory') {
        // Only empty directories are added; the others come with their files.
        if (!entries.some((e) => e.path.startsWith(`${entry.path}/`))) tree.add(directory(path, context.owner));
      } else if (entry.type === 'symlink') tree.add(symlink(path, entry.target, context.owner));
      else tree.add(file(path, bytesContent(entry.data), context.owner, entry.executable ? 0o755 : 0o644));
    }
    return { tree };
  },
});

async function readPinned(source: string, pins: Pins, recipeFolder: string): Promise<LocalEntry[]> {
  const entries = await readLocalFolder(recipeFolder, source);
  if (folderDigest(entries) === pins.inputs[source]) return entries;
  throw new KinaError('lock', `the folder ${source} differs from the one that was locked`, {
    hint: 'Run `kina lock` again, or restore the folder.',
  });
}
