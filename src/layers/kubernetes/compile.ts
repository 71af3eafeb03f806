/**
 * Compiling a source tree with its own `make`: the one place where building an image runs other programs, and what they
 * run is the compiler; what they make is never started. Which Go, which generators, which flags is the tree's business
 * and changes with every release of Kubernetes. kina says four things, through variables that the tree's own scripts read
 * (hack/lib/golang.sh and hack/lib/version.sh, here those of 1.20):
 *
 * - `KUBE_BUILD_PLATFORMS`: the target, so that arm64 is compiled on amd64 and the other way round.
 * - `KUBE_STATIC_OVERRIDES`: no cgo for any of the binaries. Otherwise kubelet wants a C compiler for the target, and
 *   the images that kina makes of the others, with no C library in them, would not start.
 * - `KUBE_GIT_VERSION_FILE`: the version that the image says is the one that the binaries say.
 * - `SOURCE_DATE_EPOCH`: the build date in the binaries, so that the same source gives the same bytes.
 *
 * What steps ask for at the same time is compiled in one go, and there is one `make` at a time: it uses all cores
 * itself, and two would write the same generated files.
 */

import { mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import semver from 'semver';
import type { Environment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { lastLines, run } from '../../host/process.ts';
import type { Reporter, Task } from '../../host/progress.ts';
import type { Architecture } from '../../oci/platform.ts';
import { readElf } from '../../tree/elf.ts';
import { sliceContent } from '../../tree/entry.ts';
import { elfMachines } from '../architecture.ts';

/** Where `make` puts what it compiled, below the tree; `_output/bin` is a link to the host's own. */
const OUTPUT = '_output/local/bin/linux';

/** 2020-01-01T00:00:00Z, the time stamp of everything in an image; `SOURCE_DATE_EPOCH` changes both. */
export const defaultEpoch = 1577836800;

/** What is kept of what the tools say, for the case that they fail. */
const maxTail = 1 << 16;

/** What the tree says about itself, by the keys of upstream's version stamp: `gitVersion`, `gitCommit`, `gitTreeState`. */
export type Stamp = Readonly<Record<string, string>>;

export interface CompileOptions {
  readonly environment: Environment;
  readonly reporter: Reporter;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs the tree's own `hack/print-workspace-status.sh`, which asks git, or in an exported tree reads what `git archive`
 * wrote into it. A tree that knows nothing gives empty values, or none.
 */
export async function readStamp(tree: string, { signal }: Pick<CompileOptions, 'signal'>): Promise<Stamp> {
  const script = join('hack', 'print-workspace-status.sh');
  if (!(await stat(join(tree, script)).catch(() => undefined))) return {};
  const { code, stdout, stderr } = await run(['bash', script], { cwd: tree, env: await treeEnvironment(tree), signal });
  if (code !== 0)
    throw new KinaError('compile', `${join(tree, script)} failed with exit code ${code}`, {
      details: lastLines(stderr || stdout, 10),
      hint: 'It says the version. Give one with `--set kubernetes=vX.Y.Z` in a tree without git, or fetch its tags.',
    });
  return Object.fromEntries(
    stdout
      .split('\n')
      .map((line) => line.split(' ', 2))
      .filter((pair): pair is [string, string] => pair.length === 2 && pair[1] !== ''),
  );
}

/** Without it, git finds the repository that an exported tree happens to lie in, and says that one's version. */
async function treeEnvironment(tree: string): Promise<Record<string, string | undefined>> {
  return { GIT_CEILING_DIRECTORIES: dirname(await realpath(tree)), MAKEFLAGS: undefined, MAKELEVEL: undefined };
}

/**
 * Compiles `cmd/NAME` for each name and returns the paths of the binaries, in the same order. What a name depends on is
 * found out first: minutes of compiling are not begun for a build that will fail.
 */
export type Compile = (names: Promise<readonly string[]>, architecture: Architecture) => Promise<string[]>;

interface Batch {
  readonly architecture: Architecture;
  readonly wishes: Promise<readonly string[]>[];
  readonly result: Promise<void>;
}

/** `version`: what the binaries will say, with the rest of the stamp. */
export function compilerOf(tree: string, version: string, stamp: Stamp, options: CompileOptions): Compile {
  const done = new Set<string>();
  let batch: Batch | undefined;
  let previous: Promise<void> = Promise.resolve();

  const begin = (architecture: Architecture): Batch => {
    const wishes: Batch['wishes'] = [];
    const compileAll = async (): Promise<void> => {
      await setImmediate(); // collects the requests of the same tick
      batch = undefined;
      const names = new Set((await Promise.all(wishes)).flat());
      const missing = [...names].filter((name) => !done.has(binary(tree, name, architecture)));
      if (missing.length > 0) await make(tree, missing, architecture, { version, stamp }, options);
      for (const name of missing) done.add(binary(tree, name, architecture));
    };
    const result = previous.then(compileAll, compileAll);
    previous = result;
    result.catch(() => {}); // the caller that awaits it gets the error
    return { architecture, wishes, result };
  };

  return async (wish, architecture) => {
    if (batch?.architecture !== architecture) batch = begin(architecture);
    const { wishes, result } = batch;
    wishes.push(wish);
    const names = await wish;
    await result;
    return names.map((name) => binary(tree, name, architecture));
  };
}

function binary(tree: string, name: string, architecture: Architecture): string {
  return join(tree, OUTPUT, architecture, name);
}

async function make(
  tree: string,
  names: readonly string[],
  architecture: Architecture,
  { version, stamp }: { version: string; stamp: Stamp },
  options: CompileOptions,
): Promise<void> {
  await checkTools(tree, options);
  const scratch = await mkdtemp(join(tmpdir(), 'kina-compile-'));
  const progress = followMake(options.reporter, `${names.join(', ')} (linux/${architecture})`);
  let tail = '';
  try {
    const versionFile = join(scratch, 'version');
    await writeFile(versionFile, versionVariables(version, stamp));
    const { code } = await run(['make', 'all', `WHAT=${names.map((name) => `cmd/${name}`).join(' ')}`], {
      cwd: tree,
      env: {
        ...(await treeEnvironment(tree)),
        KUBE_BUILD_PLATFORMS: `linux/${architecture}`,
        KUBE_STATIC_OVERRIDES: names.join(' '),
        KUBE_GIT_VERSION_FILE: versionFile,
        SOURCE_DATE_EPOCH: options.environment.SOURCE_DATE_EPOCH || String(defaultEpoch),
      },
      signal: options.signal,
      onOutput: (text) => {
        tail = (tail + text).slice(-maxTail);
        progress.hear(text);
      },
    });
    if (code !== 0)
      throw new KinaError('compile', `compiling ${names.join(', ')} for linux/${architecture} failed`, {
        details: [`\`make\` in ${tree} ended with exit code ${code}:`, ...lastLines(tail, 15)],
        hint: `${await wantedGo(tree)} Go's own messages are above.`,
      });
    for (const name of names) await checkBinary(binary(tree, name, architecture), name, architecture);
    progress.done();
  } catch (error) {
    progress.fail();
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What `kube::version::load_version_vars` of the tree sources; every value has been checked to be a plain word. */
function versionVariables(version: string, stamp: Stamp): string {
  const parsed = semver.parse(version);
  const word = (text: string | undefined): string => (text && /^[\w.+-]+$/.test(text) ? text : '');
  const variables = {
    // An empty commit would make the tree leave all of its flags out.
    KUBE_GIT_COMMIT: word(stamp.gitCommit) || 'unknown',
    KUBE_GIT_TREE_STATE: word(stamp.gitTreeState) || 'archive',
    KUBE_GIT_VERSION: word(version),
    KUBE_GIT_MAJOR: String(parsed?.major ?? ''),
    // Upstream marks what is between two releases like this.
    KUBE_GIT_MINOR: `${parsed?.minor ?? ''}${parsed?.prerelease.length || parsed?.build.length ? '+' : ''}`,
  };
  return Object.entries(variables)
    .map(([name, value]) => `${name}='${value}'\n`)
    .join('');
}

async function checkTools(tree: string, { signal }: CompileOptions): Promise<void> {
  // Old trees copy what they compiled with rsync; without it `make` goes on, and later breaks over something else.
  const library = await readFile(join(tree, 'hack/lib/golang.sh'), 'utf8').catch(() => '');
  const commands = [
    ['make', '--version'],
    ['bash', '--version'],
    ['go', 'version'],
    ...(/^[^#\n]*\brsync\b/m.test(library) ? [['rsync', '--version']] : []),
  ];
  const missing: string[] = [];
  for (const command of commands)
    try {
      await run(command, { signal });
    } catch (error) {
      if (!(error instanceof KinaError) || error.code !== 'not-found') throw error;
      missing.push(command[0] as string);
    }
  if (missing.length > 0)
    throw new KinaError('not-found', `compiling ${tree} needs ${missing.join(' and ')}, not found on the PATH`, {
      hint: `Install ${missing.join(' and ')}. ${await wantedGo(tree)}`,
    });
}

/** The exact version stands in `.go-version` where there is one, the least one in `go.mod`. */
async function wantedGo(tree: string): Promise<string> {
  const read = (name: string) => readFile(join(tree, name), 'utf8').catch(() => '');
  const exact = /^[\w.]+/.exec((await read('.go-version')).trim())?.[0];
  const least = /^go (\d[\w.]*)$/m.exec(await read('go.mod'))?.[1];
  if (exact) return `This source is released with Go ${exact} (.go-version).`;
  return least ? `This source wants Go ${least} or newer (go.mod).` : 'See its go.mod for the version of Go.';
}

async function checkBinary(path: string, name: string, architecture: Architecture): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isFile())
    throw new KinaError('compile', `make ended well, but there is no ${path}`, {
      hint: 'Is KUBE_OUTPUT_SUBPATH or OUT_DIR set? kina looks where make puts binaries by default.',
    });
  const elf = await readElf(sliceContent(path, 0, info.size, path));
  if (elf?.machine !== elfMachines[architecture])
    throw new KinaError(
      'platform',
      `make was asked for ${name} for linux/${architecture} and made ${elf ? `one for ${elf.machine}` : 'a file that is not ELF'}: ${path}`,
      { hint: 'Run `make clean` in the source tree and build again.' },
    );
}

/**
 * What `make` says, as tasks: its headings (`+++ [1121 20:50:01] Building go targets for linux/arm64:`) one after the
 * other, and everything together, which in a quiet Makefile is all there is.
 */
function followMake(
  reporter: Reporter,
  title: string,
): { hear(text: string): void } & Pick<Task, 'fail'> & { done(): void } {
  const whole = reporter.task('compile', title);
  let current: Task | undefined;
  let line = '';
  return {
    hear(text) {
      const lines = (line + text).split('\n');
      line = (lines.pop() ?? '').slice(-maxTail);
      for (const each of lines) {
        const heading = /^\+\+\+ (?:\[[\d :]+\] )?(.+?):?$/.exec(each.trimEnd())?.[1];
        if (heading === undefined) continue;
        current?.done();
        current = reporter.task('compile', heading);
      }
    },
    done() {
      current?.done();
      whole.done();
    },
    fail() {
      current?.fail();
      whole.fail();
    },
  };
}
