/** `kina copy`: images between registries, layout folders and archives. */
import { Command } from 'commander';
import { answer, answerJson, type GlobalFlags, version, withProgress } from '../terminal/context.ts';
import { destination, pushSummary } from './published.ts';
import { insecureOption, mirrorOption } from './shared.ts';
import { sessionFor } from './toolbox.ts';

interface CopyFlags extends GlobalFlags {
  mirror: string[];
  insecureRegistry: string[];
  referrers: boolean;
  json: boolean;
}

export function copyCommand(): Command {
  return new Command('copy')
    .description('copy an image between registries, layout folders and archives, without unpacking it')
    .argument('<src>', '[docker://]REFERENCE, oci:DIR[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME]')
    .argument('<dest>', 'the same forms')
    .addOption(mirrorOption())
    .addOption(insecureOption())
    .option('--no-referrers', 'leave what stands beside the image (SBOMs, provenance, signatures) where it is')
    .option('--json', 'answer as JSON', false)
    .addHelpText(
      'after',
      `
Examples:
  kina copy ghcr.io/example/node:v1.34.2 registry.example.org/node:v1.34.2
  kina copy ghcr.io/example/node:v1.34.2 oci-archive:node.tar
  kina copy oci:layout 127.0.0.1:5000/node:v1.34.2`,
    )
    .action(async (src: string, dest: string, _own: unknown, command: Command) => {
      const flags = command.optsWithGlobals<CopyFlags>();
      const { parseLocation } = await import('../../ops/registry/location.ts');
      const from = parseLocation(src);
      const to = parseLocation(dest);
      if (to.type === 'registry') destination(to.ref);
      const { imageEpoch } = await import('../../build/image.ts');
      const { copyImage } = await import('../../ops/registry/copy.ts');
      const { writingTransport } = await import('../../ops/registry/publish.ts');
      const how = { mtime: imageEpoch(), alone: !flags.referrers };
      const { root, pushed, referrers } = await withProgress(flags, async (reporter, signal) => {
        const insecureRegistries = flags.insecureRegistry;
        const tools = await sessionFor(flags, reporter, signal);
        return copyImage(from, to, tools, writingTransport({ insecureRegistries, version, signal }), how);
      });
      if (flags.json) return answerJson({ destination: dest, digest: root.digest, ...pushed, referrers });
      if (pushed && !flags.quiet) process.stderr.write(`${pushSummary(pushed)}\n`);
      answer(`${dest.replace(/^docker:\/\//, '')}@${root.digest}`);
    });
}
