/** Outputs and messages: standard output, files, folders, full and read-only disks. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { check, projectRoot, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe } from '../../support/kina.ts';
import { describeWith } from '../../support/requirements.ts';
import { sendFile } from '../../support/server.ts';

let bench: Bench;
let usual: string;
beforeAll(async () => {
  bench = await openBench();
  usual = digestIn(await bench.build(['--output', 'type=oci-archive,dest=usual.tar']));
});
afterAll(() => bench.close());
const at = (...names: string[]): string => join(bench.folder, ...names);

describe('standard output', () => {
  test('dest=-: the archive and nothing else', async () => {
    const script = `"$0" "$@" > piped.tar`;
    const { argv, env } = bench.command(['--output', 'type=oci-archive,dest=-']);
    const result = await run(['sh', '-c', script, ...argv], { cwd: bench.folder, env });
    expect(result.code).toBe(0);
    expect((await readFile(at('piped.tar'))).equals(await readFile(at('usual.tar')))).toBe(true);
    expect(result.stderr).toContain(`digest ${usual}`);
  });

  test('a reader that closes the pipe in the middle of an archive: an error', async () => {
    const { argv, env } = bench.command(['--output', '-']);
    const script = 'exec 3>&1; { "$0" "$@"; echo "code $?" >&3; } | head -c 600 >/dev/null';
    const result = await run(['sh', '-c', script, ...argv], { cwd: bench.folder, env });
    expect(result.stdout).toMatch(/^code (1|130)$/m);
    expect(result.stderr).toContain('the reader of standard output stopped before the end of the archive');
  });

  test('a reader that closes the pipe early is not a failure', async () => {
    const kina = `"${process.execPath}" "${join(projectRoot, 'bin/kina.js')}"`;
    const script = `{ ${kina} build node-image --help; echo "code $?" >&2; } | head -n 1`;
    const result = await run(['sh', '-c', script]);
    expect(result.stderr).toBe('code 0\n');
  });

  test('a closed stderr does not end the build', async () => {
    const { argv, env } = bench.command(['--no-cache'], {});
    const script = '{ "$0" "$@" 2>&1 >answer; echo "code $?" >code; } | head -n 1 >/dev/null';
    await run(['sh', '-c', script, ...argv], { cwd: bench.folder, env });
    expect(await readFile(at('code'), 'utf8')).toBe('code 0\n');
    expect(await readFile(at('answer'), 'utf8')).toContain(usual);
  });

  test('--quiet: only the result', async () => {
    const result = await bench.build(['--quiet', '--no-cache', '--tag', 'q:1', '--tag', 'q:2', '--tag', 'q:1']);
    expect(result).toMatchObject({ code: 0, stderr: '', stdout: `q:1@${usual}\nq:2@${usual}\n` });
  });

  test('--json: a single document on standard output', async () => {
    const result = await bench.build(['--json', '--no-cache', '--output', 'type=oci-archive,dest=json.tar']);
    const answer = JSON.parse(result.stdout);
    expect(answer).toMatchObject({
      refs: ['localhost/kina/small:v1.34.2'],
      digest: usual,
      recipe: 'small',
      kubernetes: 'v1.34.2',
      lock: expect.stringMatching(/^sha256:/),
      outputs: [{ type: 'oci-archive', dest: 'json.tar' }],
    });
    expect(answer.platforms[0].layers.map((l: { name: string }) => l.name)).toEqual([
      'base',
      'runtime',
      'kubernetes',
      'images',
      'node',
      'system',
    ]);
    for (const args of [
      ['--dry-run', '--json'],
      ['--json', '--quiet'],
    ])
      expect(JSON.parse((await bench.build(args)).stdout)).toHaveProperty('kubernetes', 'v1.34.2');
    for (const args of [
      ['image', 'ls', '--json'],
      ['cache', 'prune', '--dry-run', '--json'],
    ])
      expect(JSON.parse((await bench.kina(args)).stdout)).toBeTypeOf('object');
  });

  test('not a terminal: plain lines, no escape sequences, a table at the end', async () => {
    const result = await bench.build([], { store: 'plain' });
    expect(result.stderr).not.toContain('\x1b');
    const lines = result.stderr.split('\n');
    expect(lines).toContainEqual(
      expect.stringMatching(/^Resolved small for linux\/amd64: \d+ artifacts \(\d+\.\d s\)$/),
    );
    expect(lines).toContainEqual(expect.stringMatching(/^Fetching \d+ files, \d+ kB$/));
    expect(lines).toContainEqual(expect.stringMatching(/^Wrote layers kubernetes \(linux\/amd64\)/));
    expect(lines).toContainEqual(expect.stringMatching(/^PLATFORM +LAYER +SIZE/));
    expect(lines).toContainEqual(expect.stringMatching(/^linux\/amd64 +kubernetes +6\.7 kB +built in \d+\.\d s$/));
    expect(lines).toContainEqual('Next: kina image inspect localhost/kina/small:v1.34.2');
    expect((await bench.build([], { store: 'plain' })).stderr).toMatch(/kubernetes +6\.7 kB +cached$/m);
  });
});

describe('files and folders', () => {
  test('an archive that exists is replaced whole, also through other names for it', async () => {
    await writeFile(at('old.tar'), 'something else');
    digestIn(await bench.build(['--output', 'type=oci-archive,dest=old.tar']));
    expect((await readFile(at('old.tar'))).equals(await readFile(at('usual.tar')))).toBe(true);
  });

  test('an archive behind a symbolic link: the file changes, the link stays', async () => {
    await writeFile(at('real.tar'), 'something else');
    await symlink('real.tar', at('link.tar'));
    digestIn(await bench.build(['--output', 'type=oci-archive,dest=link.tar']));
    expect((await lstat(at('link.tar'))).isSymbolicLink()).toBe(true);
    expect((await readFile(at('real.tar'))).equals(await readFile(at('usual.tar')))).toBe(true);
  });

  test('a layout that exists keeps its other images; an empty folder will do', async () => {
    await mkdir(at('layout'));
    digestIn(await bench.build(['--output', 'type=oci,dest=layout', '--tag', 'one:1']));
    digestIn(await bench.build(['--output', 'type=oci,dest=layout', '--tag', 'two:2', '--set', 'motd=bye']));
    const index = JSON.parse(await readFile(at('layout/index.json'), 'utf8'));
    expect(
      index.manifests.map(
        (m: { annotations: Record<string, string> }) => m.annotations['org.opencontainers.image.ref.name'],
      ),
    ).toHaveLength(2);
    for (const name of await readdir(at('layout/blobs/sha256')))
      expect(
        createHash('sha256')
          .update(await readFile(at('layout/blobs/sha256', name)))
          .digest('hex'),
      ).toBe(name);
  });

  test.each([
    ['a folder that is not a layout', 'type=oci,dest=full', 'full exists and is not an OCI image layout'],
    ['a folder for an archive', 'type=oci-archive,dest=full', 'full is a folder'],
    ['a device', 'type=oci-archive,dest=/dev/null', '/dev/null is not a regular file'],
    [
      'a folder that is not there',
      'type=oci-archive,dest=no/such/node.tar',
      'cannot write the output no/such/node.tar',
    ],
    ['a file where a folder must be', 'type=oci,dest=usual.tar/x', 'cannot write the output usual.tar/x'],
    ['a file for a layout', 'type=oci,dest=usual.tar', 'usual.tar exists and is not an OCI image layout'],
  ])('%s', async (_what, output, words) => {
    await mkdir(at('full'), { recursive: true });
    await writeFile(at('full/mine.txt'), 'mine');
    const before = bench.upstream.requests.length;
    const result = await bench.build(['--output', output, '--set', `motd=${before}`], { store: `wrong-${before}` });
    expect(result.stderr).toContain(`ERROR: ${words}`);
    expect(result.code).toBe(2);
    expect(result.stdout).toBe('');
    // Known beforehand, so told before the work.
    expect(bench.upstream.requests.length).toBe(before);
    expect(await readFile(at('full/mine.txt'), 'utf8')).toBe('mine');
  });

  test('several outputs at once', async () => {
    const outputs = ['type=oci-archive,dest=m.tar', 'type=docker-archive,dest=m-docker.tar', 'type=oci,dest=m'];
    digestIn(await bench.build(outputs.flatMap((o) => ['--output', o])));
    expect((await readFile(at('m.tar'))).equals(await readFile(at('usual.tar')))).toBe(true);
    expect(await check(['tar', '-tf', at('m-docker.tar')])).toContain('manifest.json');
    expect(await readdir(at('m'))).toEqual(expect.arrayContaining(['oci-layout', 'index.json', 'blobs']));
  });
});

/** As an unprivileged user, because root can write to read-only folders. */
describeWith('as an unprivileged user', ['root', 'setpriv'], () => {
  const asNobody = async (args: readonly string[], store: string) => {
    const { argv, env } = bench.command(args, { store });
    return run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...argv], { cwd: bench.folder, env });
  };

  test('a read-only folder for the output: reported before the build', async () => {
    await chmod(bench.folder, 0o755);
    await mkdir(at('readonly'), { mode: 0o555 });
    await mkdir(at('open'));
    await chmod(at('open'), 0o777);
    const result = await asNobody(['--output', 'type=oci-archive,dest=readonly/node.tar'], 'open/store');
    expect(result.stderr).toContain('ERROR: cannot write the output readonly/node.tar');
    expect(result.code).toBe(2);
    expect(await readdir(at('readonly'))).toEqual([]);
  });

  test('a read-only store', async () => {
    await mkdir(at('closed'), { mode: 0o555 });
    const result = await asNobody([], 'closed/store');
    expect(result.stderr).toMatch(/ERROR: .*closed\/store.*/);
    expect(result.stderr).toContain('KINA_CACHE_DIR');
    expect(result.stderr).not.toContain('bug in kina');
    expect(result.code).toBe(1);
  });
});

/** Root can mount a tmpfs of any size to get a disk that is really full. */
function canMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describeWith('a full disk', canMount() ? [] : ['root', 'permission to mount a tmpfs'], () => {
  const big = Buffer.alloc(24 << 20, 'big ');
  const recipe = 'big.yaml';
  /** Runs kina with a disk of `size` mounted at `folder`, in a mount namespace of its own. */
  const onSmallDisk = async (folder: string, size: string, args: readonly string[], then = 'true') => {
    await mkdir(at(folder), { recursive: true });
    const { argv, env } = bench.command(['--recipe', `./${recipe}`, ...args], { store: 'small/store' });
    const script = `mount -t tmpfs -o size=${size} none "$1"; shift; "$@"; code=$?; ${then}; exit $code`;
    return run(['unshare', '--mount', 'sh', '-c', script, 'sh', at(folder), ...argv], { cwd: bench.folder, env });
  };
  beforeAll(async () => {
    bench.upstream.intercept = (path, response) => {
      if (path !== '/files.example/big') return false;
      sendFile(response.req, response, big);
      return true;
    };
    await writeFile(
      at(recipe),
      `name: big\nextends: ${smallRecipe}\nlayers:\n  - name: big\n    steps:\n      - file: { path: srv/big, url: "https://files.example/big", checksum: { sha256: ${sha256(big).slice(7)} } }\n`,
    );
  });
  afterAll(() => {
    bench.upstream.intercept = undefined;
  });

  test.each([
    ['while fetching', '12m'],
    ['while writing a layer', '36m'],
    ['at the first byte', '4k'],
  ])('for the store, %s', async (_when, size) => {
    const left = 'find small/store/tmp -type f';
    const result = await onSmallDisk('small', size, [], left);
    expect(result.stderr).toContain('ERROR: no space left on device while writing');
    expect(result.stderr).toContain('KINA_CACHE_DIR');
    expect(result.stderr).not.toContain('bug in kina');
    expect(result.code).toBe(1);
    expect(result.stdout).toBe(''); // no answer, and nothing half-written left
  });

  test('for the store, and then there is room: the same image', async () => {
    const whole = digestIn(await bench.build(['--recipe', `./${recipe}`], { store: 'roomy' }));
    const again = `mount -o remount,size=400m "${at('small')}"; "$@"; code=$?`;
    const result = await onSmallDisk('small', '36m', ['--quiet'], again);
    expect(digestIn(result)).toBe(whole);
  });

  test.each(['oci-archive', 'docker-archive', 'oci'])('for the output: %s', async (type) => {
    await mkdir(at('small'), { recursive: true });
    const { argv, env } = bench.command(['--recipe', `./${recipe}`, '--output', `type=${type},dest=disk/node`], {
      store: 'store',
    });
    await mkdir(at('disk'), { recursive: true });
    const script = 'mount -t tmpfs -o size=8m none disk; "$@"; code=$?; ls -A disk; exit $code';
    const result = await run(['unshare', '--mount', 'sh', '-c', script, 'sh', ...argv], { cwd: bench.folder, env });
    expect(result.stderr).toContain('ERROR: no space left on device while writing disk/node');
    expect(result.code).toBe(1);
    expect(result.stdout).toBe('');
  });
});
