/** The service's Unix socket: where it is, and that nobody else is on it. */
import { lstat, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { isAbsolute, join } from 'node:path';
import { isErrno, KinaError } from '../host/errors.ts';

/** sun_path of unix(7), without its last zero. */
const longest = process.platform === 'darwin' ? 103 : 107;

/** `unix:///PATH` or a path, as an absolute path. Throws `usage`. */
export function socketPath(text: string): string {
  const path = text.replace(/^unix:\/\//, '').replace(/^unix:/, '');
  if (!isAbsolute(path))
    throw new KinaError('usage', `--socket ${text}: expected an absolute path, or unix:///PATH`, {
      hint: 'kubelet dials Unix sockets only.',
    });
  checkSocketPath(path);
  return path;
}

/** Throws `usage` for a path that no kernel takes for a socket. */
export function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) <= longest) return;
  throw new KinaError('usage', `the socket path ${path} is longer than ${longest} bytes`, {
    hint: 'Choose a shorter --root or --socket.',
  });
}

/** The longest path below a service's root is that of an agent's socket. Throws `usage`. */
export function checkRoot(root: string): void {
  checkSocketPath(join(root, 'sandboxes', '0'.repeat(32), 'socket', 'agent.sock'));
}

/** Removes what a dead service left there. Throws `conflict` when one answers, `usage` when it is no socket at all. */
export async function freeSocket(path: string): Promise<void> {
  const there = await lstat(path).catch((error) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (!there) return;
  if (!there.isSocket())
    throw new KinaError('usage', `${path} is there and is no socket`, {
      hint: 'Nothing was changed. Choose another --socket.',
    });
  if (await answers(path))
    throw new KinaError('conflict', `another service listens on ${path}`, {
      hint: 'Stop it, or choose another --socket and --root.',
    });
  await rm(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((done, failed) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', (error) => {
      if (isErrno(error, 'ENOENT', 'ECONNREFUSED')) done(false);
      else failed(error);
    });
  });
}
