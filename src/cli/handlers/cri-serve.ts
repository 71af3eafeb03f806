import { processEnvironment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import type { CriSettings } from '../../ops/cri.ts';
import { type GlobalFlags, version, withSignal } from '../terminal/context.ts';
import type { ServeFlags } from './shared/cri-settings.ts';

export async function run(flags: ServeFlags): Promise<void> {
  const { readSettings } = await import('./shared/cri-settings.ts');
  const { releaseMemory, stayLean } = await import('../../host/memory.ts');
  stayLean();
  const settings = await readSettings(flags);
  const say = (line: string): void => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  await withSignal(async (signal) => {
    const image = await prepareSandboxImage(flags, settings, signal);
    const { startCri } = await import('../../ops/cri.ts');
    const service = await startCri(
      { ...settings, sandboxImage: image, version, environment: processEnvironment(), log: say },
      signal,
    );
    releaseMemory(); // used during startup
    if (!flags.quiet) say(`serving CRI on unix://${settings.socket}, streams on ${service.streamingUrl}`);
    await new Promise((ended) => signal.addEventListener('abort', ended));
    await service.close();
    // Stopping a container may take minutes, and the client is gone: the next service continues.
    process.exit(0);
  }).catch((error: { code?: string }) => {
    // an interrupt is the normal end
    if (error.code !== 'interrupted') throw error;
  });
}

/**
 * Builds the image in a child process: it takes 60 MB, which the service would never give back. The child gets Ctrl-C from
 * the terminal, too.
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
  throw new KinaError('provider', 'building the sandbox image failed; see the output above', {
    hint: 'Run `kina cri sandbox-image` to try only this step.',
  });
}
