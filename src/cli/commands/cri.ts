/** `kina cri`: the Container Runtime Interface for a kubelet, and how the kubelet is told. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import type { CriSettings } from '../../ops/cri.ts';
import { answer, answerJson, type GlobalFlags, version, withProgress, withSignal } from '../terminal/context.ts';
import type { ServeFlags } from './cri-settings.ts';
import { collect } from './options.ts';
import { addMirrorOptions, insecureOption, type MirrorFlags } from './shared.ts';
import { sessionFor } from './toolbox.ts';

const standardSocket = 'unix:///var/run/kina-cri.sock';

export function criCommand(): Command {
  return new Command('cri')
    .description('a Container Runtime Interface (CRI v1) service whose pods are virtual machines')
    .addCommand(serveCommand())
    .addCommand(sandboxImageCommand())
    .addCommand(kubeletConfigCommand());
}

function serveCommand(): Command {
  const command = new Command('serve')
    .description(
      'serve CRI on a Unix socket: a sandbox of its own for every pod, until Ctrl-C; pods outlive the service',
    )
    .option('--socket <path|url>', `where kubelet connects (default: ${standardSocket})`)
    .option('--provider <name>', 'what makes sandboxes: apple, docker or podman (also KINA_PROVIDER)')
    .option('--config <file>', 'YAML with the same settings, e.g. `sandboxImage: NAME`; these flags win')
    .option('--root <dir>', 'what is remembered: pods, images (default: /var/lib/kina-cri, or below the home folder)')
    .option('--share <dir>', 'folder that pods may mount (repeatable; default: /var/lib/kubelet)', collect, [])
    .option('--network <name>', "the provider's network for sandboxes (default: kina-cri)")
    .option('--route <cidr=gateway>', 'addresses that a node translates, e.g. of services (repeatable)', collect, [])
    .option('--sandbox-image <ref>', 'another sandbox image than the one that kina builds')
    .option('--cpus <n>', 'processors of a sandbox whose pod has no limit')
    .option('--memory <MiB>', 'memory of a sandbox whose pod has no limit')
    .option('--streaming-address <ip>', 'where exec, attach and port forwarding listen (default: 127.0.0.1)')
    .option('--streaming-port <port>', 'and on which port (default: a free one)');
  return addMirrorOptions(command)
    .addOption(insecureOption())
    .addHelpText(
      'after',
      `
Examples:
  kina cri serve --provider podman --share /var/lib/kubelet
  crictl --runtime-endpoint ${standardSocket} pods`,
    )
    .action(async (_own: unknown, self: Command) => {
      const flags = self.optsWithGlobals<ServeFlags>();
      const { readSettings } = await import('./cri-settings.ts');
      const { releaseMemory, stayLean } = await import('../../host/memory.ts');
      stayLean();
      const settings = await readSettings(flags, standardSocket);
      const say = (line: string): void => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);
      await withSignal(async (signal) => {
        const image = await prepareSandboxImage(flags, settings, signal);
        const { startCri } = await import('../../ops/cri.ts');
        const service = await startCri({ ...settings, sandboxImage: image, version, log: say }, signal);
        releaseMemory(); // what starting took
        if (!flags.quiet) say(`serving CRI on unix://${settings.socket}, streams on ${service.streamingUrl}`);
        await new Promise((ended) => signal.addEventListener('abort', ended));
        await service.close();
        // A container may have minutes for its end, and whoever asked is gone: the next service takes it up.
        process.exit(0);
      }).catch((error: { code?: string }) => {
        // stopping is how it is meant to end
        if (error.code !== 'interrupted') throw error;
      });
    });
}

interface SandboxImageFlags extends GlobalFlags, MirrorFlags {
  provider?: string;
  sandboxImage?: string;
  insecureRegistry: string[];
}

function sandboxImageCommand(): Command {
  const command = new Command('sandbox-image')
    .description('build the image of sandboxes and load it, as serve does when it starts; answers with its name')
    .option('--provider <name>', 'what makes sandboxes: apple, docker or podman (also KINA_PROVIDER)')
    .option('--sandbox-image <ref>', 'another sandbox image than the one that kina builds');
  return addMirrorOptions(command)
    .addOption(insecureOption())
    .action(async (_own: unknown, self: Command) => {
      const flags = self.optsWithGlobals<SandboxImageFlags>();
      const { sandboxImage } = await import('../../ops/sandbox-image.ts');
      const reference = await withProgress(flags, async (reporter, signal) => {
        const tools = await sessionFor(flags, { warn: reporter.warn, info: reporter.info }, signal);
        return sandboxImage(flags, tools, signal, (note) => reporter.info(note));
      });
      answer(reference);
    });
}

/**
 * In a process of its own: building an image takes 60 MB that a service would keep for all its life. It hears Ctrl-C as
 * everybody at the terminal does.
 */
async function prepareSandboxImage(flags: GlobalFlags, settings: CriSettings, signal: AbortSignal): Promise<string> {
  const { spawn } = await import('node:child_process');
  const named = {
    provider: settings.provider,
    'sandbox-image': settings.sandboxImage,
    'debian-mirror': settings.debianMirror,
    'debian-security-mirror': settings.debianSecurityMirror,
  };
  const child = spawn(
    process.execPath,
    [
      process.argv[1]!,
      'cri',
      'sandbox-image',
      ...(flags.quiet ? ['--quiet'] : []),
      '-v',
      String(flags.verbosity),
      ...Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value])),
      ...settings.mirrors.flatMap((url) => ['--mirror', url]),
      ...settings.insecureRegistries.flatMap((host) => ['--insecure-registry', host]),
      ...(settings.offline ? ['--offline'] : []),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const code = await new Promise<number>((ended, failed) => {
    child.once('error', failed);
    child.once('close', (status) => ended(status ?? 1));
  });
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
  if (code === 0) return said.trim();
  throw new KinaError('provider', 'there is no sandbox image; what went wrong stands above', {
    hint: '`kina cri sandbox-image` tries it alone.',
  });
}

function kubeletConfigCommand(): Command {
  return new Command('kubelet-config')
    .description('print what makes a kubelet use the service: its configuration file, or flags for old ones')
    .option('--socket <path|url>', 'where the service listens', standardSocket)
    .option('--kubernetes <version>', "the kubelet's version: below v1.27 the endpoint is a flag", 'v1.34.0')
    .option('--json', 'answer as JSON', false)
    .action(async (_own: unknown, self: Command) => {
      const { socket, kubernetes, json } = self.optsWithGlobals<{
        socket: string;
        kubernetes: string;
        json: boolean;
      }>();
      const { socketPath } = await import('../../cri/socket.ts');
      const { kubeletSettings, kubeletText } = await import('../../cri/kubelet.ts');
      const settings = kubeletSettings(`unix://${socketPath(socket)}`, kubernetes);
      if (json) return answerJson(settings);
      answer(kubeletText(settings));
    });
}
