/**
 * What the stand-in knows between calls: a JSON file in a folder, behind a lock. The folder's name also makes the names
 * of everything on podman, so that stand-ins of several tests neither see nor touch each other.
 *
 * KINA_APPLE_STATE  the folder; needed.
 */
import { mkdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prefixOf } from './prefix.ts';
import { failure } from './refusal.ts';
import type { PublishedSocket, SharedFolder } from './shares.ts';

export interface Published {
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly proto: 'tcp' | 'udp';
  readonly count: 1;
}

export interface StoredContainer {
  readonly name: string;
  readonly created: string;
  started?: string;
  readonly reference: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly network: { readonly name: string; readonly mtu: number };
  readonly ports: readonly Published[];
  readonly cpus: number;
  readonly memory: number;
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly privileged: boolean;
  readonly environment: readonly string[];
  readonly rosetta: boolean;
  readonly folders: readonly SharedFolder[];
  readonly sockets: readonly PublishedSocket[];
}

export interface StoredImage {
  readonly name: string;
  readonly descriptor: Readonly<Record<string, unknown>> & { readonly digest: string };
  readonly variant: Readonly<Record<string, unknown>>;
  /** Podman's name for it. */
  readonly own: string;
}

export interface StoredNetwork {
  readonly name: string;
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly subnet: string;
}

export interface State {
  readonly containers: Record<string, StoredContainer>;
  readonly images: Record<string, StoredImage>;
  readonly networks: Record<string, StoredNetwork>;
}

const given = process.env.KINA_APPLE_STATE;
if (!given) {
  process.stderr.write('this is a stand-in for tests: name a folder in KINA_APPLE_STATE\n');
  process.exit(70);
}
export const folder = resolve(given);
mkdirSync(folder, { recursive: true });

/** What belongs to this stand-in on podman begins so. */
export const prefix = prefixOf(folder);

/** What podman calls a container or a network of the stand-in. */
export const ownName = (name: string): string => `${prefix}-${name}`;

const file = join(folder, 'state.json');

export function read(): State {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as State;
  } catch {
    return { containers: {}, images: {}, networks: {} };
  }
}

/** Changes the state under the lock. */
export async function change<T>(edit: (state: State) => T): Promise<T> {
  return locked('state.lock', 30, 'state', async () => {
    const state = read();
    const answer = edit(state);
    writeFileSync(`${file}.${process.pid}`, JSON.stringify(state, null, 1));
    renameSync(`${file}.${process.pid}`, file);
    return answer;
  });
}

/** Creating, booting and deleting exclude each other, and who waits a minute for it is refused. */
export function service<T>(work: () => Promise<T>): Promise<T> {
  return locked('service.lock', 60, 'containerCreate', work);
}

async function locked<T>(name: string, seconds: number, request: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, name);
  const end = Date.now() + seconds * 1000;
  for (;;) {
    try {
      mkdirSync(path);
      writeFileSync(`${path}.pid`, String(process.pid));
      break;
    } catch {
      if (abandoned(path)) {
        remove(path);
        continue;
      }
      if (Date.now() > end) throw failure(`XPC timeout for request to com.apple.container.apiserver/${request}`);
      await sleep(20);
    }
  }
  try {
    return await work();
  } finally {
    remove(path);
  }
}

/** A process that was killed while it held the lock no longer holds it. */
function abandoned(path: string): boolean {
  try {
    const pid = Number(readFileSync(`${path}.pid`, 'utf8'));
    process.kill(pid, 0);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true;
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    return age > 5000;
  }
}

function remove(path: string): void {
  try {
    rmdirSync(path);
  } catch {}
}
