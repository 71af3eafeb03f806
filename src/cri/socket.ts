/** The Unix socket of the service: its path, and the check that no other process uses it. */
import { randomBytes } from 'node:crypto';
import { lstat, rename, rm } from 'node:fs/promises';
import { createConnection, type Server } from 'node:net';
import { dirname, isAbsolute, join } from 'node:path';
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

/** Throws `usage` for a path that is too long for a socket. */
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

/** Throws `conflict` when a service answers there, `usage` when the path is not a socket. Changes nothing. */
export async function checkSocketFree(path: string): Promise<void> {
  const there = await lstat(path).catch((error) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (!there) return;
  if (!there.isSocket())
    throw new KinaError('usage', `${path} exists and is not a socket`, {
      hint: 'Nothing was changed. Choose another --socket.',
    });
  if (await answers(path)) throw taken(path);
}

/**
 * Listens, and replaces the socket of a dead service. Throws as `checkSocketFree`, also for the second of two services that
 * start at the same time: binding fails if a socket exists, and a socket that seemed dead is checked again after it is moved.
 */
export async function listenAlone(server: Server, path: string): Promise<void> {
  for (;;) {
    await checkSocketFree(path);
    try {
      return await listen(server, path);
    } catch (error) {
      if (!isErrno(error, 'EADDRINUSE')) throw error;
    }
    await takeAway(path);
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((done, failed) => {
    server.once('error', failed).listen(path, () => {
      server.off('error', failed);
      done();
    });
  });
}

/** Renames the socket first. If it answers, it is new: it is moved back, and `conflict` is thrown. */
async function takeAway(path: string): Promise<void> {
  const aside = join(dirname(path), `.${randomBytes(3).toString('hex')}`); // short, because the length of a socket's path is limited
  try {
    await rename(path, aside);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return; // another process did
    throw error;
  }
  if (await answers(aside)) {
    await rename(aside, path);
    throw taken(path);
  }
  await rm(aside, { force: true });
}

const taken = (path: string): KinaError =>
  new KinaError('conflict', `another service listens on ${path}`, {
    hint: 'Stop it, or choose another --socket and --root.',
  });

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
