/** `kina image …`: the images in the store. `ls`, `inspect` and `rm` are here, the others in `image-*.ts`. */
import { Command } from 'commander';
import { type ImageDetails, inspectImage, listImages, removeImage } from '../../oci/image/inspect.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { bytes, table } from '../terminal/format.ts';
import { diffCommand, filesCommand, historyCommand } from './image-content.ts';
import { saveCommand, tagCommand, verifyCommand } from './image-move.ts';
import { sbomCommand } from './image-sbom.ts';
import { testCommand } from './image-test.ts';
import { openStore } from './store.ts';

export function imageCommand(): Command {
  const list = new Command('ls')
    .alias('list')
    .description('list the images in the store')
    .option('--json', 'answer as JSON', false)
    .action(async (options: { json: boolean }) => {
      const images = await listImages(await openStore());
      if (options.json) return answerJson(images);
      if (images.length === 0) return void process.stderr.write('No images yet; `kina build node-image` makes one.\n');
      answer(
        table(
          [
            ['NAME', 'DIGEST', 'PLATFORMS', 'SIZE'],
            ...images.map((i) => [
              i.ref,
              i.digest.slice(0, 19),
              i.damage ? `damaged: ${i.damage}` : i.platforms.join(', '),
              bytes(i.size),
            ]),
          ],
          [3],
        ),
      );
    });
  const inspect = new Command('inspect')
    .description('show what an image is made of')
    .argument('<ref>', 'name of the image')
    .option('--json', 'answer as JSON', false)
    .action(async (ref: string, options: { json: boolean }) => {
      const details = await inspectImage(await openStore(), ref);
      return options.json ? answerJson(details) : answer(text(details));
    });
  const remove = new Command('rm')
    .description('take names away; `kina cache prune` then frees the space')
    .argument('<ref...>', 'names of images')
    .action(async (refs: string[]) => {
      const store = await openStore();
      for (const ref of refs) {
        await removeImage(store, ref);
        answer(ref);
      }
    });
  return new Command('image')
    .description('work with images in the store')
    .addCommand(list)
    .addCommand(inspect)
    .addCommand(historyCommand())
    .addCommand(filesCommand())
    .addCommand(diffCommand())
    .addCommand(sbomCommand())
    .addCommand(verifyCommand())
    .addCommand(testCommand())
    .addCommand(saveCommand())
    .addCommand(tagCommand())
    .addCommand(remove);
}

function text({ ref, descriptor, platforms }: ImageDetails): string {
  const lines = [ref, `index     ${descriptor.digest}`];
  for (const p of platforms) {
    lines.push(
      '',
      p.platform,
      `manifest  ${p.manifest.digest}`,
      `config    ${p.config.digest}`,
      `created   ${p.created ?? 'unknown'}`,
      `starts    ${p.entrypoint.join(' ')}`,
      ...(p.user ? [`user      ${p.user}`] : []),
      ...(p.workingDir ? [`folder    ${p.workingDir}`] : []),
    );
    const labels = Object.entries(p.labels).sort(([a], [b]) => (a < b ? -1 : 1));
    if (labels.length > 0) lines.push('labels', table(labels.map(([k, v]) => [`  ${k}`, v])));
    lines.push(
      'layers',
      table(
        p.layers.map((l) => [
          `  ${l.digest.slice(0, 19)}`,
          bytes(l.size),
          l.mediaType.replace(/^.*\.layer\.v1\./, ''),
          l.createdBy ?? '',
        ]),
        [1],
      ),
    );
  }
  return lines.join('\n');
}
