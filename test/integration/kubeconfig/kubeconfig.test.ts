/** The person's kubeconfig with kubectl itself, with many processes at once, and with processes that die. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { clusterKubeconfig } from '../../../src/cluster/kubeconfig/admin.ts';
import { mergeKubeconfig, removeFromKubeconfig } from '../../../src/cluster/kubeconfig/kubeconfig.ts';
import { check, run } from '../../support/command.ts';
import { mirroredVersion, releaseFile } from '../../support/mirror.ts';
import { describeUnless, describeWith, pathOf } from '../../support/requirements.ts';
import { adminConf } from './admin-conf.ts';

const worker = join(import.meta.dirname, 'worker.ts');
const ours = (name: string) => clusterKubeconfig(adminConf, { name, server: 'https://127.0.0.1:40001' });

let folder: string;
const at = (name: string) => join(folder, name);
const namesIn = (text: string) => parse(text).contexts.map(({ name }: { name: string }) => name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-kubeconfig-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the files', () => {
  test('a new one, in a new folder, is for its owner only', async () => {
    const path = await mergeKubeconfig(ours('kina-a'), { env: { HOME: at('home') } });
    expect(path).toBe(at('home/.kube/config'));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(at('home/.kube'))).toEqual(['config']);
  });

  test('one that others could read is for its owner only once credentials are in it', async () => {
    await writeFile(at('config'), '', { mode: 0o644 });
    await mergeKubeconfig(ours('kina-a'), { explicit: at('config') });
    expect((await stat(at('config'))).mode & 0o777).toBe(0o600);
  });

  test('a link stays a link, also one to a file that is not there yet', async () => {
    await mkdir(at('dotfiles'));
    await symlink('dotfiles/kube', at('config'));
    for (const name of ['kina-a', 'kina-b']) await mergeKubeconfig(ours(name), { explicit: at('config') });
    expect((await lstat(at('config'))).isSymbolicLink()).toBe(true);
    expect(namesIn(await readFile(at('dotfiles/kube'), 'utf8'))).toEqual(['kina-a', 'kina-b']);
    expect(await readdir(at('dotfiles'))).toEqual(['kube']);
  });

  test('a file that is not a kubeconfig is named and never overwritten', async () => {
    const broken = Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe, 0x0a]); // no UTF-8
    await writeFile(at('config'), broken);
    const choice = { explicit: at('config') };
    for (const work of [() => mergeKubeconfig(ours('kina-a'), choice), () => removeFromKubeconfig('kina-a', choice)])
      await expect(work()).rejects.toMatchObject({
        code: 'kubeconfig',
        message: expect.stringContaining(choice.explicit),
      });
    expect(await readFile(at('config'))).toEqual(broken);
    await expect(mergeKubeconfig(ours('kina-a'), { explicit: folder })).rejects.toThrow(
      `cannot read the kubeconfig ${folder}`,
    );
  });

  test('a cluster leaves every file of the list; others keep their bytes and their time', async () => {
    const env = { KUBECONFIG: ['a', 'none', 'b', 'c'].map(at).join(':') };
    await mergeKubeconfig(ours('kina-a'), { explicit: at('a') });
    await mergeKubeconfig(ours('kina-a'), { explicit: at('b') });
    await mergeKubeconfig(ours('kina-b'), { explicit: at('b') });
    await writeFile(at('c'), '# strange   layout\nusers:   [ ]\n');
    const before = await stat(at('c'));
    expect(await removeFromKubeconfig('kina-a', { env })).toEqual([at('a'), at('b')]);
    const [a, b] = await Promise.all(['a', 'b'].map(async (name) => parse(await readFile(at(name), 'utf8'))));
    expect([a.users, a['current-context'], b['current-context']]).toEqual([[], '', 'kina-b']);
    const after = await stat(at('c'));
    expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
    expect(existsSync(at('none'))).toBe(false);
    expect(await removeFromKubeconfig('kina-a', { env })).toEqual([]);
  });

  test('a broken file in the list keeps the cluster from leaving that one only', async () => {
    await writeFile(at('a'), 'users: {');
    await mergeKubeconfig(ours('kina-a'), { explicit: at('b') });
    const work = removeFromKubeconfig('kina-a', { env: { KUBECONFIG: `${at('a')}:${at('b')}` } });
    await expect(work).rejects.toMatchObject({
      details: [expect.stringContaining(at('a')), `removed from ${at('b')}`],
    });
    expect(namesIn(await readFile(at('b'), 'utf8'))).toEqual([]);
  });

  describeWith('that are mounted by themselves', ['root', 'unshare'], () => {
    test('are overwritten, as nothing can take their place', async (context) => {
      await writeFile(at('real'), ours('work'));
      await writeFile(at('config'), '');
      const script = 'mount --bind "$1" "$2" && KUBECONFIG="$2" "$3" "$4" merge kina-a && ls -A "$(dirname "$2")"';
      const names = await run(
        ['unshare', '--mount', 'sh', '-c', script, 'sh', at('real'), at('config'), process.execPath, worker],
        { timeout: 30 },
      );
      if (/mount: .*(permission denied|not permitted)/i.test(names.stderr))
        return context.skip('nothing can be mounted here');
      expect(names).toMatchObject({ code: 0, stdout: 'config\nreal\n' });
      expect(namesIn(await readFile(at('real'), 'utf8'))).toEqual(['work', 'kina-a']);
    });
  });
});

describe('processes', () => {
  const start = (...args: string[]): ChildProcess =>
    spawn(process.execPath, [worker, ...args], {
      env: { ...process.env, KUBECONFIG: `${at('config')}:${at('second')}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  const ended = (child: ChildProcess) => new Promise((done) => child.once('exit', (code) => done(code)));

  test('twenty at once, merging and removing, lose nothing of each other', { timeout: 60_000 }, async () => {
    await writeFile(at('config'), '# mine\n');
    for (let i = 0; i < 10; i++) await mergeKubeconfig(ours(`kina-old${i}`), { explicit: at('config') });
    await mergeKubeconfig(ours('kina-old3'), { explicit: at('second') });
    const all = Array.from({ length: 10 }, (_, i) => [start('merge', `kina-new${i}`), start('remove', `kina-old${i}`)]);
    expect(await Promise.all(all.flat().map(ended))).toEqual(Array(20).fill(0));
    const text = await readFile(at('config'), 'utf8');
    expect(text).toMatch(/^# mine\n/);
    expect(namesIn(text).sort()).toEqual(Array.from({ length: 10 }, (_, i) => `kina-new${i}`));
    expect(namesIn(await readFile(at('second'), 'utf8'))).toEqual([]);
    expect(await readdir(folder)).toEqual(['config', 'second']);
  });

  test('one that is killed at any moment leaves a whole file and nothing to wait for', {
    timeout: 180_000,
  }, async () => {
    await mergeKubeconfig(ours('work'), { explicit: at('config') });
    let locksLeft = 0;
    // At least twelve, and until one moment was inside a change: on a busy machine few are.
    for (let i = 0; i < 12 || (locksLeft === 0 && i < 200); i++) {
      const child = start('churn', 'kina-a');
      // The first sign of life, then any moment of the dozens of merges and removals per second.
      await new Promise((alive) => child.stdout?.once('data', alive));
      await sleep(Math.random() * 40);
      child.kill('SIGKILL');
      await ended(child);
      expect(namesIn(await readFile(at('config'), 'utf8'))).toContain('work');
      if (existsSync(at('config.lock'))) locksLeft++;
      await mergeKubeconfig(ours('kina-b'), { explicit: at('config') });
      expect(await readdir(folder)).toEqual(['config']);
    }
    // Otherwise the moments were badly chosen.
    expect(locksLeft).toBeGreaterThan(0);
  });
});

const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const released = releaseFile(`dl.k8s.io/${mirroredVersion}/bin/linux/${architecture}/kubectl`);
const source = existsSync(released) ? released : pathOf('kubectl');

describeUnless(
  source ? undefined : 'kubectl is not installed, nor in the folder that KINA_TEST_MIRROR_DIR names',
  'kubectl',
  () => {
    let program: string;
    beforeAll(async () => {
      program = join(await mkdtemp(join(tmpdir(), 'kina-kubectl-')), 'kubectl');
      await copyFile(source!, program);
      await chmod(program, 0o755);
    });
    afterAll(() => rm(join(program, '..'), { recursive: true, force: true }));
    const kubectl = (files: string, ...args: string[]) => check([program, ...args], { env: { KUBECONFIG: files } });

    test('reads what is written, in YAML and in JSON, and what was there before', async () => {
      for (const text of ['', '{"kind": "Config", "apiVersion": "v1", "clusters": [], "users": null}']) {
        await writeFile(at('config'), text);
        await kubectl(at('config'), 'config', 'set-cluster', 'work', '--server=https://work.example.org');
        await kubectl(at('config'), 'config', 'set-context', 'work', '--cluster=work', '--namespace=dev');
        if (text) await writeFile(at('config'), await kubectl(at('config'), 'config', 'view', '--raw', '-o', 'json'));
        await mergeKubeconfig(ours('kina-a'), { explicit: at('config') });
        const view = JSON.parse(await kubectl(at('config'), 'config', 'view', '--raw', '-o', 'json'));
        const added = parse(ours('kina-a'));
        expect(view).toMatchObject({ 'current-context': 'kina-a', users: added.users });
        expect(view.clusters).toContainEqual(added.clusters[0]);
        expect(view.contexts).toContainEqual({
          name: 'work',
          context: { cluster: 'work', user: '', namespace: 'dev' },
        });
        expect(await kubectl(at('config'), 'config', 'get-contexts', '-o', 'name')).toBe('kina-a\nwork');
        await removeFromKubeconfig('kina-a', { explicit: at('config') });
        expect(await kubectl(at('config'), 'config', 'get-contexts', '-o', 'name')).toBe('work');
        expect((await run([program, 'config', 'current-context'], { env: { KUBECONFIG: at('config') } })).code).toBe(1);
      }
    });

    test('takes the new entry, whole, where a later file of the list has an old one of that name', async () => {
      await mergeKubeconfig(ours('kina-a'), { explicit: at('late') });
      await kubectl(at('late'), 'config', 'set-credentials', 'kina-a', '--token=old');
      await kubectl(at('late'), 'config', 'set-context', 'kina-a', '--namespace=old');
      await writeFile(at('first'), '');
      const files = `${at('first')}:${at('late')}`;
      expect(await mergeKubeconfig(ours('kina-a'), { env: { KUBECONFIG: files } })).toBe(at('first'));
      const view = JSON.parse(await kubectl(files, 'config', 'view', '--raw', '--minify', '-o', 'json'));
      expect(view).toMatchObject({ users: parse(ours('kina-a')).users, contexts: parse(ours('kina-a')).contexts });
      expect(view.users[0].user).not.toHaveProperty('token');
      expect(view.contexts[0].context).not.toHaveProperty('namespace');
    });

    test('writes at the same time, and loses nothing through kina', { timeout: 60_000 }, async () => {
      await writeFile(at('config'), ours('work'));
      // kubectl does not wait for a lock, so it is asked again. Only its own entries are looked for at the end: it reads
      // before it locks, and deletes what came in between.
      const script =
        'for i in $(seq 15); do until "$1" config set-context "k-$i" --cluster=work >/dev/null 2>&1; do :; done; done';
      const theirs = check(['sh', '-c', script, 'sh', program], { env: { KUBECONFIG: at('config') }, timeout: 50 });
      let running = true;
      void theirs.finally(() => {
        running = false;
      });
      for (let i = 0; running; i++) {
        await mergeKubeconfig(ours(`kina-${i % 5}`), { explicit: at('config') });
        await removeFromKubeconfig(`kina-${(i + 1) % 5}`, { explicit: at('config') });
        await sleep(Math.random() * 60);
      }
      await theirs;
      const names = (await kubectl(at('config'), 'config', 'get-contexts', '-o', 'name')).split('\n');
      expect(names).toEqual(expect.arrayContaining(['work', ...Array.from({ length: 15 }, (_, i) => `k-${i + 1}`)]));
      expect(await readdir(folder)).toEqual(['config']);
    });
  },
);
