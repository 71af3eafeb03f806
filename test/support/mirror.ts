/**
 * The mirror of upstream release artifacts that lies beside the project, `../shared/mirror`: real files behind a real
 * server with faults on demand (its README lists the options). Building its tree takes over a minute, so tests use one
 * that was built before, in `KINA_TEST_MIRROR_DIR` or, when unset, `kina-mirror` in the system's temporary folder.
 * Where either is absent a test cannot run, and says so on stderr.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** One finished request, as the mirror reports it. */
export interface MirrorRequest {
  readonly method: string;
  readonly url: string;
  readonly range?: string;
  readonly status: number;
  /** Bytes of body that were sent. */
  readonly bytes: number;
  /** `reset`, `corrupt`, `client-closed`: set when the transfer was not a plain success. */
  readonly fault?: string;
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

const program = fileURLToPath(new URL('../../../shared/mirror/mirror.mjs', import.meta.url));

/**
 * Serves the mirror on a free loopback port. `args` are further options of its `serve`, e.g.
 * `['--fail-rate', '0.3', '--seed', '1']`. Use at a test file's top level:
 * `const mirror = await startMirror(); describe.skipIf(mirror.skip)(…)`.
 */
export async function startMirror(options: { args?: readonly string[] } = {}): Promise<Mirror | NoMirror> {
  const directory = process.env.KINA_TEST_MIRROR_DIR || join(tmpdir(), 'kina-mirror');
  if (!existsSync(program)) return skipped(`the shared mirror is not beside the project (${program})`);
  if (!existsSync(join(directory, '.mirror.json')))
    return skipped(`no built mirror in ${directory}: run node ${program} build --out ${directory}`);

  const child = spawn(
    process.execPath,
    [program, 'serve', '--dir', directory, '--port', '0', ...(options.args ?? [])],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const log: MirrorRequest[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the mirror ended with status ${code} before it listened`)));
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const event = JSON.parse(line);
      if (event.event === 'listening') resolve(event.url);
      else log.push(event);
    });
  });
  // A test that forgets to stop it must not keep vitest's worker alive.
  child.unref();
  return { url, log, stop: () => stop(child) };
}

function skipped(reason: string): NoMirror {
  process.stderr.write(`SKIPPED: ${reason}\n`);
  return { skip: reason };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
}
