/** `kina push` and `kina pull`: images between the store and registries. */
import { Command } from 'commander';
import { choosePlatforms, narrowImage, openImage } from '../../oci/image/select.ts';
import { answer, answerJson, type GlobalFlags, version, withProgress } from '../terminal/context.ts';
import { compression, platforms } from './options.ts';
import { checkMetadata, destination, pushSummary, reportPublished } from './published.ts';
import { insecureOption, mirrorOption } from './shared.ts';
import { addSigningOptions, type SigningFlags, signerFor } from './signing.ts';
import { openStore } from './store.ts';
import { sessionFor } from './toolbox.ts';

interface PushFlags extends GlobalFlags, SigningFlags {
  compression?: string;
  platform?: string;
  metadataFile?: string;
  sbom: boolean;
  provenance: boolean;
  insecureRegistry: string[];
  json: boolean;
}
interface PullFlags extends GlobalFlags {
  mirror: string[];
  platform?: string;
  insecureRegistry: string[];
}

export function pushCommand(): Command {
  const push = new Command('push')
    .description('push an image from the store to registries: what they lack, and nothing else')
    .argument('<ref>', 'name of the image in the store')
    .argument('[dest...]', 'names it gets in registries (default: its own)')
    .option(
      '--compression <kind[:level]>',
      'zstd, gzip or none for all layers (default: zstd for those that are not compressed)',
    )
    .option('--platform <list>', 'comma list of platforms (default: all)')
    .option('--metadata-file <file>', 'write digest and names as JSON, with the keys of docker buildx')
    .option('--sbom', 'put an SPDX document beside each platform', false)
    .option('--provenance', 'put a SLSA provenance document beside the image; for images built here', false);
  return addSigningOptions(push)
    .addOption(insecureOption())
    .option('--json', 'answer as JSON', false)
    .addHelpText(
      'after',
      `
Examples:
  kina push ghcr.io/example/node:v1.34.2
  kina push localhost/kina/node:v1.34.2 ghcr.io/example/node:v1.34.2 ghcr.io/example/node:latest
  kina push localhost/kina/node:v1.34.2 127.0.0.1:5000/node:v1.34.2 --compression gzip
  kina push ghcr.io/example/node:v1.34.2 --sbom --provenance --sign-key key.pem`,
    )
    .action(async (ref: string, names: string[], _own: unknown, command: Command) =>
      runPush(ref, names, command.optsWithGlobals<PushFlags>()),
    );
}

async function runPush(ref: string, names: readonly string[], flags: PushFlags): Promise<void> {
  const references = [...new Set(names.length ? names : [ref])].map(destination);
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const form = flags.compression === undefined ? 'keep' : (compression(flags.compression) ?? 'none');
  await checkMetadata(flags.metadataFile);
  const { publishImage, writingTransport } = await import('../../ops/registry/publish.ts');
  const result = await withProgress(flags, async (reporter, signal) => {
    const signer = await signerFor(flags, signal);
    const transport = writingTransport({ insecureRegistries: flags.insecureRegistry, version, signal });
    const store = await openStore();
    const contents = await openImage(store, ref);
    const image = await narrowImage(store, contents, choosePlatforms(ref, contents, wanted));
    const published = await publishImage(image, references, form, { store, transport, reporter, signal });
    const { attachDocuments } = await import('../../ops/trust/attach.ts');
    const tools = { store, transport, version, signal };
    const documents = await attachDocuments(published.root, references, { ...flags, signer }, tools);
    return { ...published, documents };
  });
  await reportPublished(result, flags.metadataFile);
  if (flags.json)
    return answerJson({
      references: result.references,
      digest: result.root.digest,
      ...result.pushed,
      documents: result.documents,
    });
  if (!flags.quiet) process.stderr.write(`${pushSummary(result.pushed)}\n`);
  answer(result.references.join('\n'));
}

export function pullCommand(): Command {
  return new Command('pull')
    .description('pull an image from a registry into the store')
    .argument('<ref>', 'name of the image, with a tag or a digest')
    .option('--platform <list>', 'comma list of platforms; the image then is an index of these (default: all)')
    .addOption(mirrorOption())
    .addOption(insecureOption())
    .action(async (ref: string, _own: unknown, command: Command) => {
      const flags = command.optsWithGlobals<PullFlags>();
      const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
      const { parseReference } = await import('../../oci/reference.ts');
      const { tag } = parseReference(ref);
      // A name with a digest in it would be wrong as soon as somebody tags another image with it.
      const name = tag === undefined ? ref : ref.replace(/@.*$/, '');
      const { pullImage } = await import('../../ops/registry/pull.ts');
      const image = await withProgress(flags, async (reporter, signal) =>
        pullImage(ref, name, wanted, await sessionFor(flags, reporter, signal)),
      );
      answer(`${name.replace(/@.*$/, '')}@${image.digest}`);
    });
}
