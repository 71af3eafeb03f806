/**
 * `kina build node-image [SOURCE]`: its flags. What they start is in `node-image.ts`, loaded when it is wanted: help and
 * short commands need a fraction of the code.
 */
import { Command } from 'commander';
import { collect } from './options.ts';
import { addSourceOptions, type BuildFlags } from './shared.ts';
import { addSigningOptions } from './signing.ts';

export function buildCommand(): Command {
  const nodeImage = addSigningOptions(addSourceOptions(new Command('node-image')), 'with --push: ')
    .description('build a node image')
    .argument(
      '[source]',
      'Kubernetes: a version or marker (v1.34.2, 1.34, stable, latest, ci/latest), a URL or file of a server tarball, a folder of binaries, a source tree to compile',
    )
    .option('-o, --output <spec>', 'also write type=oci|oci-archive|docker-archive,dest=PATH (repeatable)', collect, [])
    .option(
      '-t, --tag <ref>',
      'name of the image in the store (repeatable; default localhost/kina/node:VERSION)',
      collect,
      [],
    )
    .option('--image <ref>', 'the same as --tag, as kind names it')
    .option('--compression <kind[:level]>', 'none, zstd or gzip (default: none; zstd with --push)')
    .option('--push', 'push the image to the registries that its names name', false)
    .option('--metadata-file <file>', 'with --push: write digest and names as JSON, with the keys of docker buildx')
    .option('--lock <file>', 'build from this lock')
    .option('--locked', 'build from kina.lock; fail when it and the recipe disagree', false)
    .option('--no-cache', 'write every layer again')
    .option('--sbom', 'with --push: put an SPDX document beside each platform', false)
    .option('--provenance', 'with --push: put a SLSA provenance document beside the image', false)
    .option(
      '--cache-from <repository>',
      'take finished images and layers from a cache in a registry (repeatable)',
      collect,
      [],
    )
    .option(
      '--cache-to <repository>',
      'keep finished images and layers in a cache in a registry (repeatable)',
      collect,
      [],
    )
    .option('--dry-run', 'print the plan and stop', false)
    .option('--report <file>', 'also write a page about the build: timeline, sizes, versions, licences')
    .option('--json', 'answer as JSON', false)
    .addHelpText(
      'after',
      `
Examples:
  kina build node-image v1.34.2                                 the host's platform, into the store
  kina build node-image 1.34 --platform linux/arm64,linux/amd64 -o type=oci-archive,dest=node.tar
  kina build node-image --recipe debian                         everything from Debian's archive
  kina build node-image v1.34.2 --tag ghcr.io/example/node:v1.34.2 --push
  kina build node-image v1.34.2 --dry-run                       what would go in`,
    )
    .action(async (source: string | undefined, _own: BuildFlags, command: Command) =>
      (await import('./node-image.ts')).run(source, command.optsWithGlobals<BuildFlags>()),
    );
  return new Command('build').description('build images').addCommand(nodeImage);
}
