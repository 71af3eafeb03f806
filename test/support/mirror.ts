/**
 * Real release files behind a real server with faults on demand. The files are in the folder that `KINA_TEST_MIRROR_DIR`
 * names: what is at `https://HOST/PATH` upstream is `HOST/PATH` there, as `kina mirror create` writes it. Building such a
 * folder takes minutes, so no test does it; without the variable the tests that need real files are skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The Kubernetes release whose files the tests use. */
export const mirroredVersion = 'v1.20.2';

/** One finished request, as the mirror reports it. */
export interface MirrorRequest {
  readonly method: string;
  readonly url: string;
  readonly range?: string;
  readonly status: number;
  /** Bytes of body that were sent. */
  readonly bytes: number;
  /** Set when the transfer was not a plain success. */
  readonly fault?: 'reset' | 'corrupt' | 'client-closed';
}

export interface MirrorFaults {
  /** Fraction of transfers that a TCP reset ends somewhere in the body. */
  readonly failRate?: number;
  /** Makes `failRate` repeatable. */
  readonly seed?: number;
  /** Limit for each transfer. */
  readonly bytesPerSecond?: number;
  /** Names of files that arrive with one wrong byte in the middle. */
  readonly corrupt?: readonly string[];
}

export interface Mirror {
  /** What `--mirror` takes: `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly skip?: undefined;
  /** Every request finished so far; grows while the mirror runs. */
  readonly log: readonly MirrorRequest[];
  stop(): Promise<void>;
}
export interface NoMirror {
  /** Why the mirror cannot be served here. */
  readonly skip: string;
}

/** Why there are no release files here; undefined when there are. */
export function noReleaseFiles(): string | undefined {
  const folder = process.env.KINA_TEST_MIRROR_DIR;
  if (!folder) return 'KINA_TEST_MIRROR_DIR does not name a folder of release files';
  const wanted = join(folder, 'dl.k8s.io', mirroredVersion);
  return existsSync(wanted) ? undefined : `KINA_TEST_MIRROR_DIR: ${wanted} does not exist`;
}

/** Path of a release file, by its address without `https://`; empty where there are no release files. */
export function releaseFile(path: string): string {
  const folder = process.env.KINA_TEST_MIRROR_DIR;
  return folder ? join(folder, path) : '';
}

/**
 * Serves the release files on a free loopback port. Use at a test file's top level:
 * `const mirror = await startMirror(); describeUnless(mirror.skip, …)`.
 */
export async function startMirror(faults: MirrorFaults = {}): Promise<Mirror | NoMirror> {
  const skip = noReleaseFiles();
  if (skip !== undefined) return { skip };
  const program = fileURLToPath(new URL('mirror-server.ts', import.meta.url));
  const child = spawn(process.execPath, [program, releaseFile(''), JSON.stringify(faults)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const log: MirrorRequest[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the mirror ended with status ${code} before it listened`)));
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line) as MirrorRequest;
      if (event.method === undefined) resolve(event.url);
      else log.push(event);
    });
  });
  // A test that forgets to stop it must not keep vitest's worker alive.
  child.unref();
  return { url, log, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
}
