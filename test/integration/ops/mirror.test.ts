/**
 * The mirror for closed networks, end to end with the real program: a lock, its mirror, and a build that has nothing
 * else. Whether anything else is asked for is not a matter of trust: the network is taken away.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe, version } from '../../support/kina.ts';
import { describeUnless, missing, noDebianMirror } from '../../support/requirements.ts';

/** Files of a folder by relative path, in order. */
async function filesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath, e.name).slice(folder.length + 1))
    .sort();
}

/** Lets `bench` lock and build a recipe; `online` is what the build gave with the network. */
async function prepareMirror(bench: Bench, recipe: string) {
  const flags = ['--recipe', recipe, '--platform', 'linux/amd64', '--mirror', bench.upstream.url];
  const locked = await bench.kina(['lock', version, ...flags, '-o', 'kina.lock']);
  expect(locked.stderr).not.toContain('ERROR');
  const online = digestIn(await bench.kina(['build', 'node-image', '--locked', ...flags]));
  return { online };
}

const noNamespace =
  missing(['root', 'unshare', 'ip']) ??
  ((await run(['unshare', '-n', 'true'])).code === 0 ? undefined : 'network namespaces cannot be made here');

/** Runs a shell script in a network namespace whose only interface is loopback. */
const cutOff = (script: string, env: Record<string, string>, cwd: string) =>
  run(['unshare', '-n', 'sh', '-c', `ip link set lo up; ${script}`], { env, cwd, timeout: 200 });

describe('a mirror of a lock', () => {
  let bench: Bench;
  let online: string;
  beforeAll(async () => {
    bench = await openBench();
    ({ online } = await prepareMirror(bench, smallRecipe));
  });
  afterAll(() => bench?.close());
  const create = (...args: string[]) =>
    bench.kina(['mirror', 'create', 'kina.lock', 'mirror', '--mirror', bench.upstream.url, '--json', ...args]);

  test('has every artifact under its upstream path, and the lock; again, nothing is fetched', async () => {
    const first = await create();
    expect(first.stderr).not.toContain('ERROR');
    const result = JSON.parse(first.stdout);
    const files = await filesIn(join(bench.folder, 'mirror'));
    expect(files).toContain('kina.lock');
    expect(files).toContain(`dl.k8s.io/${version}/bin/linux/amd64/kubelet`);
    expect(
      files.filter((f) => /^registry\.k8s\.io\/v2\/pause\/(manifests|blobs)\/sha256:[0-9a-f]{64}$/.test(f)),
    ).toHaveLength(3);
    expect(files).toHaveLength(result.files + 1);
    expect(result).toMatchObject({ written: result.files, archives: [] });
    expect(await readFile(join(bench.folder, 'mirror/kina.lock'))).toEqual(
      await readFile(join(bench.folder, 'kina.lock')),
    );
    const asked = bench.upstream.requests.length;
    expect(JSON.parse((await create()).stdout).written).toBe(0);
    expect(bench.upstream.requests).toHaveLength(asked);
  });

  test('damaged and missing files, and what an interruption left, are made good', async () => {
    const at = (path: string) => join(bench.folder, 'mirror', path);
    const kubelet = `dl.k8s.io/${version}/bin/linux/amd64/kubelet`;
    const good = await readFile(at(kubelet));
    await appendFile(at(kubelet), 'x');
    await rm(at(`dl.k8s.io/${version}/bin/linux/amd64/kubectl`));
    const wrong = Buffer.from(await readFile(at(`dl.k8s.io/${version}/bin/linux/amd64/kubeadm`)));
    wrong[70]! ^= 1;
    await writeFile(at(`dl.k8s.io/${version}/bin/linux/amd64/kubeadm`), wrong);
    expect(JSON.parse((await create('--offline')).stdout).written).toBe(3);
    expect(await readFile(at(kubelet))).toEqual(good);
  });

  test('a lock with what no mirror can hold is refused before anything is fetched', async () => {
    const text = await readFile(join(bench.folder, 'kina.lock'), 'utf8');
    const bad = text
      .replace(/https:\/\/dl\.k8s\.io\/\S+\/kubelet\b/, 'local:kubelet')
      .replace(/https:\/\/dl\.k8s\.io\/\S+\/kubectl\b/, 'http://intranet.example/kubectl')
      .replace(/https:\/\/dl\.k8s\.io\/\S+\/kubeadm\b/, 'https://dl.k8s.io/%2e%2e%2f%2e%2e%2fetc/passwd');
    await writeFile(join(bench.folder, 'bad.lock'), bad);
    const result = await bench.kina(['mirror', 'create', 'bad.lock', 'elsewhere']);
    expect(result.code).toBe(2);
    for (const words of ['local:kubelet', 'http://intranet.example/kubectl', 'etc/passwd'])
      expect(result.stderr).toContain(words);
    expect(await readdir(bench.folder)).not.toContain('elsewhere');
  });

  describeUnless(noNamespace, 'without a network', () => {
    const env = () => ({ KINA_CACHE_DIR: join(bench.folder, 'fresh'), KINA_CONFIG: join(bench.folder, 'none') });
    const kina = `${process.execPath} ${join(projectRoot, 'bin/kina.js')}`;
    const build = (base: string) =>
      `${kina} build node-image --lock mirror/kina.lock --recipe ${smallRecipe} --platform linux/amd64 --mirror ${base}`;

    test('the namespace reaches nothing (else the next tests prove nothing)', async () => {
      const { port } = new URL(bench.upstream.url);
      const connect = `bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port}'`;
      expect((await run(['sh', '-c', connect])).code).toBe(0);
      expect((await cutOff(connect, env(), bench.folder)).code).not.toBe(0);
    });

    test('a build from the served mirror gives the digest that it had online', async () => {
      const script = [
        `${kina} mirror serve mirror --port 8080 --json > served.json & server=$!`,
        'until [ -s served.json ]; do sleep 0.1; done',
        `${build('http://127.0.0.1:8080')}; code=$?`,
        'kill -TERM $server; wait $server || code=99; exit $code',
      ].join('\n');
      const result = await cutOff(script, env(), bench.folder);
      expect(digestIn(result)).toBe(online);
      expect(JSON.parse(await readFile(join(bench.folder, 'served.json'), 'utf8')).url).toBe('http://127.0.0.1:8080');
    });

    test('and so does one from the folder itself', async () => {
      const fresh = { ...env(), KINA_CACHE_DIR: join(bench.folder, 'fresh2') };
      expect(digestIn(await cutOff(build(`file://${bench.folder}/mirror`), fresh, bench.folder))).toBe(online);
    });

    test('a mirror that lost a file is an error that names it', async () => {
      const path = `dl.k8s.io/${version}/bin/linux/amd64/kubelet`;
      await rm(join(bench.folder, 'mirror', path));
      const fresh = { ...env(), KINA_CACHE_DIR: join(bench.folder, 'fresh3') };
      const result = await cutOff(build(`file://${bench.folder}/mirror`), fresh, bench.folder);
      expect([result.code, result.stderr]).toEqual([1, expect.stringContaining(`https://${path} does not exist`)]);
      expect(JSON.parse((await create('--offline')).stdout).written).toBe(1);
    });
  });
});

describeUnless((await noDebianMirror()) ?? noNamespace, 'a mirror with Debian packages', () => {
  test('the same digest from the folder alone, without a network', async () => {
    const bench = await openBench();
    try {
      const recipe = join(bench.folder, 'with-debian.yaml');
      await writeFile(
        recipe,
        [
          'name: with-debian',
          `extends: ${smallRecipe}`,
          'layers:',
          '  - name: packages',
          '    steps:',
          '      - debian:',
          '          archives:',
          '            - { archive: debian, suite: trixie, components: [main], checkValidUntil: false }',
          '            - { archive: debian-security, suite: trixie-security, components: [main], checkValidUntil: false }',
          '          packages: [hostname]',
        ].join('\n'),
      );
      const { online } = await prepareMirror(bench, recipe);
      const made = await bench.kina(['mirror', 'create', 'kina.lock', 'mirror', '--offline', '--json']);
      const { archives } = JSON.parse(made.stdout) as { archives: string[] };
      expect(archives).toContain('debian');
      const base = `file://${bench.folder}/mirror`;
      const result = await cutOff(
        `${process.execPath} ${join(projectRoot, 'bin/kina.js')} build node-image --lock mirror/kina.lock --recipe ${recipe} ` +
          `--platform linux/amd64 --mirror ${base} --debian-mirror ${base}/debian --debian-security-mirror ${base}/debian-security`,
        { KINA_CACHE_DIR: join(bench.folder, 'fresh'), KINA_CONFIG: join(bench.folder, 'none') },
        bench.folder,
      );
      expect(digestIn(result)).toBe(online);
    } finally {
      await bench.close();
    }
  });
});

describe('the server', () => {
  let bench: Bench;
  let url: string;
  let stop: () => Promise<number | null>;
  const body = 'x'.repeat(1000);
  beforeAll(async () => {
    bench = await openBench();
    const root = await bench.place('mirror/host/v2/pause/manifests');
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [],
    });
    const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
    await writeFile(join(root, digest), manifest);
    await writeFile(join(root, 'latest'), manifest);
    await writeFile(join(bench.folder, 'mirror/host/file+1~a.txt'), body);
    await writeFile(join(bench.folder, 'mirror/host/empty'), '');
    await writeFile(join(bench.folder, 'mirror/host/.hidden'), 'secret');
    await writeFile(join(bench.folder, 'outside'), 'secret');
    await mkdir(join(bench.folder, 'mirror-evil'));
    await writeFile(join(bench.folder, 'mirror-evil/x'), 'secret');
    await symlink('../../outside', join(bench.folder, 'mirror/host/link'));
    await symlink('../../mirror-evil', join(bench.folder, 'mirror/host/sibling'));
    const child = spawn(
      process.execPath,
      [join(projectRoot, 'bin/kina.js'), 'mirror', 'serve', 'mirror', '--port', '0'],
      {
        cwd: bench.folder,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    url = await new Promise((done, fail) => {
      child.once('exit', (code) => fail(new Error(`ended with ${code}`)));
      createInterface({ input: child.stdout! }).once('line', done);
    });
    stop = () =>
      new Promise((done) => {
        child.removeAllListeners('exit').once('exit', done);
        child.kill('SIGINT');
      });
  });
  afterAll(() => bench?.close());
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(`${url}${path}`, { headers, method });

  test('files, HEAD, percent escapes', async () => {
    const answer = await get('/host/file%2B1~a.txt');
    expect([answer.status, answer.headers.get('content-length'), await answer.text()]).toEqual([200, '1000', body]);
    const head = await get('/host/file+1~a.txt', {}, 'HEAD');
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '1000', '']);
    expect(await (await get('/host/empty')).text()).toBe('');
    expect((await get('/host/file+1~a.txt', {}, 'PUT')).status).toBe(405);
  });

  test('ranges, and validators that no longer hold', async () => {
    const etag = (await get('/host/file+1~a.txt')).headers.get('etag')!;
    const part = await get('/host/file+1~a.txt', { range: 'bytes=990-', 'if-range': etag });
    expect([part.status, part.headers.get('content-range'), (await part.text()).length]).toEqual([
      206,
      'bytes 990-999/1000',
      10,
    ]);
    expect((await (await get('/host/file+1~a.txt', { range: 'bytes=-5' })).text()).length).toBe(5);
    expect((await get('/host/file+1~a.txt', { range: 'bytes=0-0', 'if-range': '"old"' })).status).toBe(200);
    expect((await get('/host/file+1~a.txt', { range: 'bytes=1000-' })).status).toBe(416);
    expect((await get('/host/file+1~a.txt', { range: 'bytes=0-1,5-6' })).status).toBe(200);
    expect((await get('/host/file+1~a.txt', { 'if-none-match': etag })).status).toBe(304);
  });

  test('manifests carry their media type and digest: clients refuse them otherwise', async () => {
    const answer = await get('/host/v2/pause/manifests/latest');
    expect(answer.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
  });

  test('nothing hidden, nothing outside, no folders', async () => {
    const { host } = new URL(url);
    // `fetch` tidies paths up before it sends them; an attacker does not.
    for (const path of [
      '/',
      '/host',
      '/host/',
      '/host/.hidden',
      '/host/link',
      '/host/sibling/x',
      '/host/../../outside',
      '/host/..%2f..%2foutside',
      '/../outside',
      '//outside',
      '/host/%00',
      '/host/%zz',
    ]) {
      const sent = await run([
        'bash',
        '-c',
        `exec 3<>/dev/tcp/${host.replace(':', '/')}; printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$1" >&3; head -1 <&3`,
        'bash',
        path,
      ]);
      expect(sent.stdout, path).toContain('404');
    }
  });

  test('a port in use is said so; SIGINT is a good end', async () => {
    const second = await bench.kina(['mirror', 'serve', 'mirror', '--port', new URL(url).port]);
    expect([second.code, second.stderr]).toEqual([2, expect.stringContaining('cannot listen on 127.0.0.1:')]);
    expect((await bench.kina(['mirror', 'serve', 'nowhere'])).stderr).toContain('kina mirror create');
    expect(await stop()).toBe(0);
  });
});
