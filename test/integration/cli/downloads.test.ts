/** Faulty downloads are always reported and never used. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { type Bench, digestIn, openBench, version } from '../../support/kina.ts';
import { breakOff, sendFile } from '../../support/server.ts';
import { fakeElf, serverTarball } from '../../support/upstream.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

const kubelet = `/dl.k8s.io/${version}/bin/linux/amd64/kubelet`;
const body = fakeElf('amd64', `kubelet ${version}`);

/** Nothing is left that could pass for an image or a finished artifact. */
async function expectNoImage(): Promise<void> {
  expect((await bench.kina(['image', 'ls'])).stdout).toBe('');
  for (const name of await readdir(join(bench.folder, 'store', 'tmp'))) throw new Error(`left in tmp: ${name}`);
}

test('a download with one wrong byte: the file, both digests and the source of the checksum', async () => {
  bench.upstream.intercept = (path, response) => {
    if (path !== kubelet) return false;
    const wrong = Buffer.from(body);
    wrong[70]! ^= 1;
    sendFile(response.req, response, wrong);
    return true;
  };
  const result = await bench.build(['-o', 'type=oci-archive,dest=node.tar']);
  expect(result.code).toBe(1);
  expect(result.stdout).toBe('');
  expect(result.stderr).toMatch(
    /ERROR: kubelet v1\.34\.2 from https:\/\/dl\.k8s\.io\/\S+ has the wrong size or digest/,
  );
  expect(result.stderr).toMatch(/want sha256:[0-9a-f]{64}, \d+ bytes \(by https:\/\/dl\.k8s\.io\/\S+\.sha256\)/);
  expect(result.stderr).toMatch(/got sha256:[0-9a-f]{64}/);
  expect(await readdir(bench.folder)).not.toContain('node.tar');
  await expectNoImage();
  // The damaged bytes were not kept: with a good server the same store builds.
  bench.upstream.intercept = undefined;
  digestIn(await bench.build());
});

test('a server that always stops halfway is retried, then reported', async () => {
  let asked = 0;
  bench.upstream.intercept = (path, response) => {
    if (path !== kubelet || response.req.method === 'HEAD') return false;
    asked++;
    breakOff(response, 200, { 'content-length': String(body.length) }, body.subarray(0, 20));
    return true;
  };
  const result = await bench.build();
  expect(result.code).toBe(1);
  expect(asked).toBeGreaterThan(2);
  expect(result.stderr).toMatch(/ERROR: .*kubelet.*(broke off|ended after|connection was lost)/);
  expect(result.stderr).toContain('Try again');
  await expectNoImage();
});

test('a truncated transfer is resumed and the image is the same', async () => {
  const undisturbed = digestIn(await bench.build([], { store: 'other' }));
  let breaks = 2;
  bench.upstream.intercept = (path, response) => {
    if (path !== kubelet || response.req.method === 'HEAD' || breaks-- <= 0) return false;
    breakOff(response, 200, { 'content-length': String(body.length) }, body.subarray(0, 20));
    return true;
  };
  expect(digestIn(await bench.build())).toBe(undisturbed);
  expect(breaks).toBeLessThan(0);
});

test('an optional component is not left out because of a server error (503)', async () => {
  bench.upstream.intercept = (path, response) => {
    if (!path.includes('/crictl-')) return false;
    response.writeHead(503).end();
    return true;
  };
  const result = await bench.build();
  expect(result.code).toBe(1);
  expect(result.stderr).toContain('the server answered 503');
  await expectNoImage();
});

test('a 404 for a required file is an error that names it', async () => {
  bench.upstream.intercept = (path, response) => {
    if (path !== kubelet) return false;
    response.writeHead(404).end();
    return true;
  };
  const result = await bench.build();
  expect(result.code).toBe(1);
  expect(result.stderr).toContain(`ERROR: Kubernetes ${version} has no kubelet for linux/amd64`);
  await expectNoImage();
});

test('a 404 for an optional component: a warning and a label, or an error with --strict', async () => {
  bench.upstream.intercept = (path, response) => {
    if (!path.includes('/crictl-')) return false;
    response.writeHead(404).end();
    return true;
  };
  const strict = await bench.build(['--strict']);
  expect(strict.code).toBe(1);
  expect(strict.stderr).toContain('upstream does not have: crictl');
  await expectNoImage();

  const built = await bench.build(['--tag', 'test/small:1']);
  digestIn(built);
  expect(built.stderr).toContain('WARNING: crictl is not available upstream and is left out');
  const details = JSON.parse((await bench.kina(['image', 'inspect', 'test/small:1', '--json'])).stdout);
  expect(details.platforms[0].labels['dev.kina.absent']).toBe('crictl');
  expect(details.platforms[0].labels).not.toHaveProperty('dev.kina.component.crictl');
  expect((await bench.build(['--dry-run'])).stdout).toContain('absent upstream: crictl');
  // The warning is printed for cached builds too, and with --quiet.
  expect((await bench.build(['--quiet'])).stderr).toBe(
    'WARNING: crictl is not available upstream and is left out (--strict makes this an error)\n',
  );
});

test('a binary for the wrong architecture under the right name', async () => {
  bench.upstream.intercept = (path, response) => {
    if (!path.startsWith(`/dl.k8s.io/${version}/bin/linux/arm64/kubelet`)) return false;
    const wrong = fakeElf('amd64', `kubelet ${version}`);
    const digest = Buffer.from(sha256(wrong).slice(7));
    sendFile(response.req, response, path.endsWith('.sha256') ? digest : wrong);
    return true;
  };
  const result = await bench.build(['--platform', 'linux/arm64']);
  expect(result.code).toBe(1);
  expect(result.stderr).toContain('/usr/bin/kubelet (kubernetes/kubernetes/kubelet) is for x86-64');
  expect(result.stderr).toContain('the image is for linux/arm64 (aarch64)');
  await expectNoImage();
});

test('a server tarball for the wrong architecture under a neutral name', async () => {
  const wrong = await serverTarball(version, 'amd64');
  bench.upstream.intercept = (path, response) => {
    if (!path.startsWith('/files.example/')) return false;
    const digest = Buffer.from(sha256(wrong).slice(7));
    sendFile(response.req, response, path.endsWith('.sha256') ? digest : wrong);
    return true;
  };
  const url = `https://files.example/${version}/server.tar.gz`;
  const result = await bench.buildFrom([url, '--platform', 'linux/arm64']);
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/is for (x86-64|linux\/amd64)/);
  expect(result.stderr).toContain('linux/arm64');
  await expectNoImage();
});

test('an error is reported at once, while other downloads still run', async () => {
  const wrong = fakeElf('arm64', 'runc');
  let hanging = false;
  bench.upstream.intercept = (path, response) => {
    // kubelet is promised and begun, but never comes to its end.
    if (path === kubelet && response.req.method !== 'HEAD') {
      response.writeHead(200, { 'content-length': String(body.length) }).write(body.subarray(0, 10));
      hanging = true;
      return true;
    }
    if (path.endsWith('/runc.amd64')) sendFile(response.req, response, wrong);
    else if (path.endsWith('/runc.sha256sum')) response.end(`${sha256(wrong).slice(7)} *runc.amd64\n`);
    else return false;
    return true;
  };
  const result = await bench.build();
  expect(hanging).toBe(true);
  expect(result.code).toBe(1);
  expect(result.stderr).toContain('/usr/local/sbin/runc (runtime/runc) is for aarch64');
  expect(result.ms).toBeLessThan(20_000); // a stalled body is given up much later
});
