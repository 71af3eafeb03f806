import { KinaError } from '../../host/errors.ts';
import { serveMirror } from '../../ops/mirror-server.ts';
import { answer } from '../terminal/context.ts';

interface ServeFlags {
  host: string;
  port: string;
  json: boolean;
}

export async function run({ host, port, json }: ServeFlags, dir: string): Promise<void> {
  if (!/^\d+$/.test(port) || Number(port) > 65535) throw new KinaError('usage', `--port ${port}: expected 0 to 65535`);
  const server = await serveMirror(dir, { host, port: Number(port) });
  // An interrupt is the normal end of this command.
  const stopped = new Promise<void>((done) => {
    process.once('SIGINT', () => done()).once('SIGTERM', () => done());
  });
  answer(json ? JSON.stringify({ url: server.url, pid: process.pid }) : server.url);
  await stopped;
  await server.stop();
}
