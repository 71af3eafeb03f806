/** `kina mirror create|serve`: what a lock needs, for networks without a way out. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { addMirrorOptions, type MirrorFlags } from './shared.ts';
import { sessionFor } from './toolbox.ts';

interface CreateFlags extends MirrorFlags, GlobalFlags {
  json: boolean;
}
interface ServeFlags {
  host: string;
  port: string;
  json: boolean;
}

export function mirrorCommand(): Command {
  const create = addMirrorOptions(new Command('create'))
    .description('copy everything that a lock pins into a folder that works as a mirror')
    .argument('<lock>', 'a lock, as `kina lock` writes it')
    .argument('<dir>', 'the folder; what is in it and right is kept')
    .option('--json', 'answer as JSON', false)
    .action((lock: string, dir: string, _own: CreateFlags, command: Command) =>
      runCreate(lock, dir, command.optsWithGlobals<CreateFlags>()),
    );
  const serve = new Command('serve')
    .description('serve a mirror over HTTP until it is stopped')
    .argument('<dir>', 'a folder made by `kina mirror create`')
    .option('--port <number>', 'port; 0 takes a free one', '8080')
    .option('--host <address>', 'address to listen on; 0.0.0.0 for other machines too', '127.0.0.1')
    .option('--json', 'answer as one line of JSON', false)
    .action(runServe);
  return new Command('mirror').description('mirrors for closed networks').addCommand(create).addCommand(serve);
}

async function runCreate(lock: string, dir: string, flags: CreateFlags): Promise<void> {
  const { createMirror } = await import('../../ops/mirror.ts');
  const result = await withProgress(flags, async (reporter, signal) =>
    createMirror(lock, dir, await sessionFor(flags, reporter, signal)),
  );
  if (flags.json) return answerJson(result);
  answer(result.directory);
  if (flags.quiet) return;
  const base = `file://${result.directory}`;
  process.stderr.write(
    [
      `${result.files} files, ${bytes(result.bytes)}, ${result.written} of them new`,
      `Next: kina build node-image --lock ${result.lock} ${mirrorArguments(base, result.archives)}`,
      '',
    ].join('\n'),
  );
}

function mirrorArguments(base: string, archives: readonly string[]): string {
  return [
    `--mirror ${base}`,
    ...(archives.includes('debian') ? [`--debian-mirror ${base}/debian`] : []),
    ...(archives.includes('debian-security') ? [`--debian-security-mirror ${base}/debian-security`] : []),
  ].join(' ');
}

async function runServe(dir: string, { host, port, json }: ServeFlags): Promise<void> {
  if (!/^\d+$/.test(port) || Number(port) > 65535) throw new KinaError('usage', `--port ${port}: expected 0 to 65535`);
  const { serveMirror } = await import('../../ops/mirror-server.ts');
  const server = await serveMirror(dir, { host, port: Number(port) });
  // To be stopped is how this command ends well.
  const stopped = new Promise<void>((done) => {
    process.once('SIGINT', () => done()).once('SIGTERM', () => done());
  });
  answer(json ? JSON.stringify({ url: server.url, pid: process.pid }) : server.url);
  await stopped;
  await server.stop();
}
