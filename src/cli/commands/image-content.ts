/** `kina image history|files|diff`: what is in an image and where it came from. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { imageHistory } from '../../oci/image/history.ts';
import { choosePlatforms, nameOf, openImage } from '../../oci/image/select.ts';
import { answer, answerJson, type GlobalFlags, withSignal } from '../terminal/context.ts';
import { bytes, table } from '../terminal/format.ts';
import { diffText, filesText } from '../terminal/image-text.ts';
import { platforms } from './options.ts';
import { openStore } from './store.ts';

interface PlatformFlags extends GlobalFlags {
  readonly platform?: string;
  readonly json: boolean;
}

export function historyCommand(): Command {
  return new Command('history')
    .description('show the layers of an image, oldest first, and the steps that made them')
    .argument('<ref>', 'name of the image')
    .option('--platform <list>', 'comma list of platforms (default: all)')
    .option('--json', 'answer as JSON', false)
    .action(async (ref: string, flags: PlatformFlags) => {
      const contents = await openImage(await openStore(), ref);
      const chosen = choosePlatforms(
        ref,
        contents,
        flags.platform === undefined ? undefined : platforms(flags.platform),
      );
      const histories = chosen.map((image) => ({ platform: nameOf(image), history: imageHistory(image) }));
      if (flags.json) return answerJson(histories);
      answer(
        histories
          .map(({ platform, history }) =>
            [
              platform,
              table(
                [
                  ['LAYER', 'DIFF ID', 'SIZE', 'CREATED', 'MADE BY'],
                  ...history.map(({ layer, created, createdBy, comment }) => [
                    layer?.name ?? '-',
                    layer?.diffId.slice(0, 19) ?? '',
                    layer ? bytes(layer.descriptor.size) : '',
                    created ?? '',
                    (layer?.steps.length ? comment : createdBy) ?? '',
                  ]),
                ],
                [2],
              ),
            ].join('\n'),
          )
          .join('\n\n'),
      );
    });
}

export function filesCommand(): Command {
  return new Command('files')
    .description('list files with the layer, package or steps that put them there')
    .argument('<ref>', 'name of the image')
    .argument('[path]', 'a path, a folder or a glob (*, ?, **); default: everything')
    .option('--platform <platform>', 'linux/arm64 or linux/amd64 (default: the only one, else this host)')
    .option('--json', 'answer as JSON', false)
    .action(async (ref: string, path: string | undefined, flags: PlatformFlags) => {
      const { findFiles } = await import('../../layers/image/files.ts');
      const store = await openStore();
      const contents = await openImage(store, ref);
      const wanted =
        flags.platform !== undefined || contents.platforms.length > 1 ? platforms(flags.platform) : undefined;
      const [image, ...others] = choosePlatforms(ref, contents, wanted);
      if (!image || others.length) throw new KinaError('usage', `--platform ${flags.platform}: name one platform`);
      const files = await withSignal((signal) => findFiles(store, image, path, { signal }));
      return flags.json ? answerJson(files) : answer(filesText(files));
    });
}

export function diffCommand(): Command {
  return new Command('diff')
    .description('say which layers, files, packages, components and settings differ between two images')
    .argument('<a>', 'name of the first image')
    .argument('<b>', 'name of the second image')
    .option('--platform <list>', 'comma list of platforms (default: all)')
    .option('--files', 'list every file, also those of packages whose version differs', false)
    .option('--exit-code', 'exit with 1 when the images differ', false)
    .option('--json', 'answer as JSON', false)
    .action(async (a: string, b: string, flags: PlatformFlags & { files: boolean; exitCode: boolean }) => {
      const { diffImages } = await import('../../layers/image/diff.ts');
      const store = await openStore();
      const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
      const left = choosePlatforms(a, await openImage(store, a), wanted);
      const right = choosePlatforms(b, await openImage(store, b), wanted);
      const diff = await withSignal((signal) => diffImages(store, left, right, { signal }));
      if (flags.exitCode && !diff.identical) process.exitCode = 1;
      return flags.json ? answerJson(diff) : answer(diffText(a, b, diff, flags.files));
    });
}
