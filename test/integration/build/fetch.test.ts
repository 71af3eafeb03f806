/**
 * Real release files from the mirror: over a bad line, over Ctrl-C and kill -9, damaged, by two processes at
 * once, onto a full disk. `test/unit/artifacts/fetch.test.ts` has the same faults one by one.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Artifact } from '../../../src/artifacts/artifact.ts';
import { resolveArtifact } from '../../../src/artifacts/checksums.ts';
import { Fetcher } from '../../../src/artifacts/fetch.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { type Mirror, type MirrorFaults, startMirror } from '../../support/mirror.ts';
import { describeUnless } from '../../support/requirements.ts';

const github = 'https://github.com';
const runc = `${github}/opencontainers/runc/releases/download/v1.1.5`;
const cni = `${github}/containernetworking/plugins/releases/download/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tgz`;
const containerd = `${github}/containerd/containerd/releases/download/v1.6.20/containerd-1.6.20-linux-amd64.tar.gz`;
const kubernetes = 'https://dl.k8s.io/v1.20.2';
/** Every shape of checksum file that upstream uses. */
const releases: readonly (readonly [name: string, url: string, checksum: string])[] = [
  ['runc', `${runc}/runc.amd64`, `${runc}/runc.sha256sum`],
  ['cni-plugins', cni, `${cni}.sha256`],
  ['containerd', containerd, `${containerd}.sha256sum`],
  ['kubectl', `${kubernetes}/bin/linux/amd64/kubectl`, `${kubernetes}/bin/linux/amd64/kubectl.sha256`],
];

const good = await startMirror();
const closing: (() => unknown)[] = [];
const folder = mkdtempSync(join(tmpdir(), 'kina-fetch-it-'));
let pinned: Artifact[];
beforeAll(async () => {
  if (good.skip === undefined)
    pinned = await resolveAll(good.url, await Store.open(mkdtempSync(join(folder, 'store-'))));
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(async () => {
  if (good.skip === undefined) await good.stop();
  rmSync(folder, { recursive: true });
});

async function mirror(faults: MirrorFaults = {}): Promise<Mirror> {
  const started = await startMirror(faults);
  if (started.skip !== undefined) throw new Error(started.skip);
  closing.push(started.stop);
  return started;
}
function transport(url: string, signal?: AbortSignal): Transport {
  // Patient: with a third of all transfers broken, five failures in a row are not rare enough for a test.
  const made = new Transport({ mirrors: [url], retryDelay: 10, retries: 10, signal });
  closing.push(() => made.close());
  return made;
}
async function setup(url: string, signal?: AbortSignal, root = mkdtempSync(join(folder, 'store-'))) {
  const store = await Store.open(root);
  return { store, root, fetcher: new Fetcher({ store, transport: transport(url, signal), reporter: silent }) };
}
function resolveAll(url: string, store: Store): Promise<Artifact[]> {
  const options = { transport: transport(url), store, reporter: silent };
  return Promise.all(
    releases.map(([name, file, checksum]) =>
      resolveArtifact({ type: 'archive', name, url: file, checksum: { url: checksum } }, options),
    ),
  );
}
const named = (name: string) => pinned.find((artifact) => artifact.name === name)!;
/** The digest as coreutils computes it. */
const sha256sum = (path: string) => `sha256:${execFileSync('sha256sum', [path], { encoding: 'utf8' }).slice(0, 64)}`;
/** Bytes of body that the mirror sent for a file. */
const sent = (from: Mirror, url: string) =>
  from.log
    .filter((r) => r.method === 'GET' && r.url === new URL(url).href.replace('https:/', ''))
    .reduce((n, r) => n + r.bytes, 0);
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}

/** Another kina: fetches one artifact into `root` and prints its own peak memory in KiB. */
function otherProcess(root: string, url: string, artifact: Artifact): ChildProcess {
  const src = new URL('../../../src', import.meta.url).href;
  const script = `
    const [{ Fetcher }, { Transport }, { silent }, { Store }] = await Promise.all(
      ['artifacts/fetch', 'host/http', 'host/progress', 'oci/store/store'].map((m) => import('${src}/' + m + '.ts')));
    const [root, mirror, artifact] = process.argv.slice(1);
    const transport = new Transport({ mirrors: [mirror] });
    const fetcher = new Fetcher({ store: await Store.open(root), transport, reporter: silent });
    await fetcher.fetch(JSON.parse(artifact));
    console.log(process.resourceUsage().maxRSS);`;
  const args = ['--input-type=module', '-e', script, root, url, JSON.stringify(artifact)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}
async function finished(child: ChildProcess): Promise<string> {
  let output = '';
  child.stdout!.on('data', (chunk) => {
    output += chunk;
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  expect(status).toBe(0);
  return output.trim();
}
const partialBytes = (root: string) => {
  const partial = join(root, 'partial');
  const names = readdirSync(root).includes('partial') ? readdirSync(partial) : [];
  return Math.max(0, ...names.filter((n) => !n.endsWith('.validator')).map((n) => statSync(join(partial, n)).size));
};
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(10);
  expect(condition()).toBe(true);
}

describeUnless(good.skip, 'the mirror of release files', () => {
  const url = good.skip === undefined ? good.url : '';

  test('a third of all transfers break off: everything arrives, and what was received is not fetched again', async () => {
    const bad = await mirror({ failRate: 0.3, seed: 5 });
    const { store, fetcher } = await setup(bad.url);
    const artifacts = await resolveAll(bad.url, store);
    expect(artifacts).toEqual(pinned);
    for (const { artifact, path } of await fetcher.fetchAll(artifacts)) expect(sha256sum(path)).toBe(artifact.digest);
    expect(bad.log.filter((request) => request.fault === 'reset').length).toBeGreaterThan(1);
    // Only what was in flight when a connection broke is lost; starting again would cost far more.
    const total = artifacts.reduce((sum, { size }) => sum + size, 0);
    expect(artifacts.reduce((sum, { url: file }) => sum + sent(bad, file), 0)).toBeLessThan(total * 1.4);
  });

  test('a component that upstream does not have is absent; the mirror that is asked says so', async () => {
    const crictl = `${github}/kubernetes-sigs/cri-tools/releases/download/v1.20.0/crictl-v1.20.0-linux-amd64.tar.gz`;
    const { store } = await setup(url);
    const options = { transport: transport(url), store, reporter: silent };
    const request = { type: 'archive' as const, name: 'crictl', url: crictl, checksum: { url: `${crictl}.sha256` } };
    const error = await failure(resolveArtifact(request, options));
    expect(error).toMatchObject({ code: 'not-found', message: `${crictl} does not exist` });
    expect(error.details).toEqual([`asked ${url}/${crictl.slice('https://'.length)}`]);
  });

  test('Ctrl-C, then again: only the rest is transferred', async () => {
    const slow = await mirror({ bytesPerSecond: 4_000_000 });
    const stop = new AbortController();
    const first = await setup(slow.url, stop.signal);
    const fetching = failure(first.fetcher.fetch(named('runc')));
    await until(() => partialBytes(first.root) > 500_000);
    stop.abort();
    expect((await fetching).code).toBe('interrupted');
    const kept = partialBytes(first.root);

    const before = good.skip === undefined ? sent(good, named('runc').url) : 0;
    const second = await setup(url, undefined, first.root);
    const { path } = await second.fetcher.fetch(named('runc'));
    expect(sha256sum(path)).toBe(named('runc').digest);
    if (good.skip === undefined) {
      await until(() => sent(good, named('runc').url) > before);
      expect(sent(good, named('runc').url) - before).toBe(named('runc').size - kept);
    }
    expect(readdirSync(join(first.root, 'partial'))).toEqual([]);
  });

  test('kill -9, then again: what was received is used, and what it is is checked', async () => {
    const slow = await mirror({ bytesPerSecond: 4_000_000 });
    const root = mkdtempSync(join(folder, 'store-'));
    const child = otherProcess(root, slow.url, named('runc'));
    await until(() => partialBytes(root) > 500_000);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    const again = await mirror();
    const { store, fetcher } = await setup(again.url, undefined, root);
    expect(await store.has(named('runc').digest)).toBe(false);
    expect(sha256sum((await fetcher.fetch(named('runc'))).path)).toBe(named('runc').digest);
    await until(() => again.log.length > 0);
    expect(again.log[0]).toMatchObject({ status: 206 });
  });

  test('a damaged file is never used, and the error says what was expected', async () => {
    const corrupt = await mirror({ corrupt: ['runc.amd64'] });
    const { store, fetcher, root } = await setup(corrupt.url);
    const error = await failure(fetcher.fetchAll(pinned.filter((a) => a.name !== 'containerd')));
    expect(error.code).toBe('integrity');
    expect(error.details[0]).toBe(
      `want ${named('runc').digest}, ${named('runc').size} bytes (by ${runc}/runc.sha256sum)`,
    );
    expect(await store.has(named('runc').digest)).toBe(false);
    expect(readdirSync(join(root, 'blobs/sha256'))).not.toContain(named('runc').digest.slice(7));
  });

  test('two processes at once: both succeed, one blob, little memory', async () => {
    const root = mkdtempSync(join(folder, 'store-'));
    const children = [1, 2].map(() => finished(otherProcess(root, url, named('containerd'))));
    for (const kilobytes of await Promise.all(children)) expect(Number(kilobytes)).toBeLessThan(250_000);
    expect(readdirSync(join(root, 'blobs/sha256'))).toEqual([named('containerd').digest.slice(7)]);
    expect(sha256sum(join(root, 'blobs/sha256', named('containerd').digest.slice(7)))).toBe(named('containerd').digest);
    expect(readdirSync(join(root, 'partial'))).toEqual([]);
  });

  test('a full disk says where and what to do, and the store stays usable', async (context) => {
    const mount = join(folder, 'full');
    mkdirSync(mount);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', mount], { stdio: 'ignore' });
    } catch {
      return context.skip('nothing can be mounted here');
    }
    closing.push(() => execFileSync('umount', [mount]));
    const { store, fetcher } = await setup(url, undefined, mount);
    const error = await failure(fetcher.fetch(named('runc')));
    expect(error.code).toBe('disk-full');
    expect(error.message).toContain(mount);
    expect(error.hint).toContain('KINA_CACHE_DIR');
    expect(await store.has(named('runc').digest)).toBe(false);
    rmSync(join(mount, 'partial'), { recursive: true });
    expect(await store.writeBytes('small')).toHaveProperty('size', 5);
  });

  test('offline: what is there is there, what is missing is listed at once', async () => {
    const root = mkdtempSync(join(folder, 'store-'));
    const { fetcher } = await setup(url, undefined, root);
    await fetcher.fetch(named('runc'));
    const offline = new Transport({ offline: true, mirrors: [url] });
    const error = await failure(
      new Fetcher({ store: await Store.open(root), transport: offline, reporter: silent }).fetchAll(pinned),
    );
    expect(error.code).toBe('offline');
    expect(error.details.map((line) => line.split(':')[0])).toEqual(['cni-plugins', 'containerd', 'kubectl']);
  });
});
