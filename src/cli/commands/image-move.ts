/** `kina image save|tag|verify`: an image out of the store, under another name, checked byte by byte. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { choosePlatforms, findImage, nameOf, narrowImage, openImage } from '../../oci/image/select.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { checkOutputs, collect, imageName, output, platforms } from './options.ts';
import { openStore } from './store.ts';

export function saveCommand(): Command {
  return new Command('save')
    .description('write an image from the store to an archive or folder')
    .argument('<ref>', 'name of the image')
    .option('-o, --output <spec>', 'type=oci|oci-archive|docker-archive,dest=PATH (repeatable)', collect, [])
    .option('--platform <list>', 'comma list of platforms (default: all)')
    .action(async (ref: string, _own: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { output: string[]; platform?: string }>();
      const outputs = flags.output.map(output);
      checkOutputs(outputs, false);
      if (!outputs.length)
        throw new KinaError('usage', 'where to? --output is missing', {
          hint: 'It looks like --output type=oci-archive,dest=node.tar.',
        });
      const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
      const { imageEpoch } = await import('../../build/image.ts');
      const { writeOutput } = await import('../../oci/output/output.ts');
      const mtime = imageEpoch();
      const index = await withProgress(flags, async (reporter) => {
        const store = await openStore();
        const contents = await openImage(store, ref);
        const chosen = choosePlatforms(ref, contents, wanted);
        if (chosen.length > 1 && outputs.some((o) => o.type === 'docker-archive'))
          throw new KinaError(
            'usage',
            `a docker-archive holds one platform, ${ref} has ${chosen.map(nameOf).join(', ')}`,
            {
              hint: 'Choose one with --platform, or write type=oci-archive.',
            },
          );
        const narrow = await narrowImage(store, contents, chosen);
        for (const { type, dest } of outputs)
          await writeOutput({ store, index: narrow, refs: [ref], dest, type, reporter, mtime });
        return narrow;
      });
      if (!outputs.some((o) => o.dest === '-')) answer(`${ref}@${index.digest}`);
    });
}

export function tagCommand(): Command {
  return new Command('tag')
    .description('give an image another name')
    .argument('<ref>', 'name of the image')
    .argument('<new>', 'the name it gets as well, taken from whatever had it')
    .action(async (ref: string, wanted: string) => {
      const name = imageName(wanted);
      const store = await openStore();
      const descriptor = await findImage(store, ref);
      await store.tag(name, descriptor);
      answer(`${name}@${descriptor.digest}`);
    });
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'hash everything an image consists of again: index, manifests, configs, layers and what they unpack to',
    )
    .argument('<ref>', 'name of the image')
    .option('--json', 'answer as JSON', false)
    .action(async (ref: string, _own: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { json: boolean }>();
      const { verifyImage } = await import('../../layers/image/verify.ts');
      const result = await withProgress(flags, async (reporter, signal) => {
        const store = await openStore();
        const descriptor = await findImage(store, ref);
        const task = reporter.task('read', ref);
        try {
          const found = await verifyImage(store, descriptor, { signal, task });
          task.done(undefined, true);
          return { ref, digest: descriptor.digest, ...found };
        } catch (error) {
          task.fail();
          throw error;
        }
      });
      if (flags.json) answerJson(result);
      if (result.damage.length) {
        process.exitCode = 1;
        if (flags.json) return;
        throw new KinaError('store', `${ref} is damaged`, {
          details: result.damage.map(({ what, digest, problem }) => `${what} (${digest.slice(0, 19)}): ${problem}`),
          hint: 'Build it again: what is damaged is fetched or made anew.',
        });
      }
      if (!flags.json) answer(`${ref}@${result.digest}: sound, ${result.blobs} blobs, ${bytes(result.bytes)} hashed`);
    });
}
