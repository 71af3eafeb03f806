/** What a machine shares with this host: folders (virtiofs) and sockets. */
import { spawn } from 'node:child_process';
import { existsSync, lstatSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from './refusal.ts';

export interface SharedFolder {
  readonly source: string;
  readonly destination: string;
  readonly readOnly: boolean;
}

export interface PublishedSocket {
  readonly hostPath: string;
  readonly containerPath: string;
}

/** `src:dst[:ro]`: a source with a `/` is a folder or file of this host and must be there. */
export function sharedFolders(given: readonly string[]): SharedFolder[] {
  return given.map((text) => {
    const [source = '', destination = '', mode, ...more] = text.split(':');
    if (!source.includes('/')) throw new Error('the stand-in has no named volumes');
    if (!isAbsolute(destination) || more.length > 0 || (mode !== undefined && mode !== 'ro'))
      throw failure(`invalid volume format ${text}`);
    if (!existsSync(source)) throw failure(`path '${source}' does not exist`);
    return { source: resolve(source), destination, readOnly: mode === 'ro' };
  });
}

/** `host:guest`. */
export function publishedSockets(given: readonly string[]): PublishedSocket[] {
  return given.map((text) => {
    const [hostPath = '', containerPath = '', ...more] = text.split(':');
    if (!isAbsolute(hostPath) || !isAbsolute(containerPath) || more.length > 0)
      throw failure(`invalid publish-socket value: ${text}`);
    if (lstatSync(hostPath, { throwIfNoEntry: false })) throw failure(`host socket ${hostPath} already exists`);
    return { hostPath, containerPath };
  });
}

/** As the inspection of a container shows it. */
export const virtiofs = ({ source, destination, readOnly }: SharedFolder) => ({
  type: { virtiofs: {} },
  source,
  destination,
  options: readOnly ? ['ro'] : [],
});

/** Relays connections for as long as the machine with this first process runs. The sockets are there when it returns. */
export async function relaySockets(sockets: readonly PublishedSocket[], firstProcess: number): Promise<void> {
  for (const { hostPath, containerPath } of sockets) {
    if (!existsSync(dirname(hostPath))) throw failure(`no such folder: ${dirname(hostPath)}`);
    const relay = new URL('relay.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [relay, hostPath, String(firstProcess), containerPath], {
      detached: true,
      stdio: 'ignore',
    });
    child.unref();
    for (let left = 500; !existsSync(hostPath); left--) {
      if (left === 0 || child.exitCode !== null) throw failure(`the socket ${hostPath} does not come up`);
      await sleep(10);
    }
  }
}
