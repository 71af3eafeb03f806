import { processEnvironment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import type { CriSettings } from '../../ops/cri.ts';
import { version } from '../../session/version.ts';
import { type GlobalFlags, withSignal } from '../terminal/context.ts';
import type { ServeFlags } from './shared/cri-settings.ts';

export async function run(flags: ServeFlags): Promise<void> {
  const { readSettings } = await import('./shared/cri-settings.ts');
  const { releaseMemory, stayLean } = await import('../../host/memory.ts');
  stayLean();
  const environment = processEnvironment();
  const settings = await readSettings(flags, environment);
  const log = (line: string): void => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  await withSignal(async (signal) => {
    const loadedSandboxImage = await imageFromChild(flags, settings, signal);
    const { serveCri } = await import('../../ops/cri.ts');
    const service = await serveCri({ ...settings, loadedSandboxImage, version, environment, log, signal });
    releaseMemory(); // used during startup
    if (!flags.quiet) log(`serving CRI on unix://${settings.socket}, streams on ${service.streamingUrl}`);
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
 * Builds and loads the image in a child process: it takes 60 MB, which the service would never give back. The child gets
 * Ctrl-C from the terminal, too.
 */
async function imageFromChild(flags: GlobalFlags, settings: CriSettings, signal: AbortSignal): Promise<string> {
  const { spawn } = await import('node:child_process');
  const { settingsFile } = await import('./shared/cri-settings.ts');
  const words = ['cri', 'sandbox-image', '--config', '-', ...(flags.quiet ? ['--quiet'] : [])];
  const child = spawn(process.execPath, [process.argv[1]!, ...words, '-v', String(flags.verbosity)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => {}); // a child that ends early reports it by its status
  child.stdin.end(settingsFile(settings));
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
