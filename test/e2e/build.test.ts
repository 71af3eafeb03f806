/**
 * The build itself, on real input and from nothing: the same bytes wherever it runs, little memory, and archives that
 * other people's tools read.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check } from '../support/command.ts';
import { type Built, buildImage, digestOf, kubernetes } from '../support/images.ts';
import { describeWith, testUnless } from '../support/requirements.ts';

const both = [kubernetes.version, '--platform', 'linux/arm64,linux/amd64'];

describeWith('both platforms from empty stores', ['full tier', 'bsdtar', 'release files'], () => {
  let folder: string;
  let first: Built;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-build-'));
    first = await buildImage('both', both, { store: join(folder, 'store') });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  // Measured with GNU time, so of the whole process, on two gigabytes of input.
  testUnless(
    existsSync('/usr/bin/time') && process.platform === 'linux' ? undefined : 'GNU time is not installed',
    'peak memory stays under 400 MB',
    () => {
      expect(first.peakMiB! * 1.048576).toBeLessThan(400);
    },
  );

  test('nothing changed: nothing is fetched or written again', async () => {
    const again = await buildImage('both-again', both, { store: join(folder, 'store'), output: false });
    expect(again.stderr).toContain('cached');
    expect(again.stderr).not.toMatch(/Fetched|built in/);
  });

  test('the digest does not depend on folder, time zone, locale, umask or store', async () => {
    const elsewhere = await buildImage('both-elsewhere', both, {
      store: join(folder, 'other-store'),
      cwd: folder,
      umask: '077',
      env: { TZ: 'Pacific/Chatham', LC_ALL: 'tr_TR.UTF-8' },
    });
    expect(await digestOf(elsewhere.archive)).toBe(await digestOf(first.archive));
    await rm(elsewhere.archive);
  });
});

const tools = ['full tier', 'skopeo', 'umoci', 'bsdtar', 'root', 'release files'];

describeWith("a two-platform archive in other people's tools", tools, () => {
  let folder: string;
  let archive: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-tools-'));
    ({ archive } = await buildImage('both', both));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  for (const architecture of ['amd64', 'arm64']) {
    const choice = ['--override-os', 'linux', '--override-arch', architecture];

    test(`skopeo finds ${architecture} in it`, async () => {
      const found = JSON.parse(await check(['skopeo', ...choice, 'inspect', `oci-archive:${archive}`]));
      expect(found).toMatchObject({ Architecture: architecture, Os: 'linux' });
      const config = await check(['skopeo', ...choice, 'inspect', '--config', `oci-archive:${archive}`]);
      expect(JSON.parse(config).config.Entrypoint).toEqual(['/usr/local/bin/entrypoint', '/sbin/init']);
    });

    test(`umoci unpacks ${architecture}`, async () => {
      const layout = join(folder, architecture);
      await check(['skopeo', '--insecure-policy', ...choice, 'copy', `oci-archive:${archive}`, `oci:${layout}:node`]);
      await check(['umoci', 'unpack', '--image', `${layout}:node`, join(folder, `${architecture}-bundle`)]);
      const version = await check(['cat', join(folder, `${architecture}-bundle/rootfs/kind/version`)]);
      expect(version).toBe(kubernetes.version);
    });
  }

  // docker 20.10 and podman 4.3 take the first entry of a manifest.json, whatever its platform.
  test('it has no manifest.json', async () => {
    expect((await check(['bsdtar', '-tf', archive])).split('\n')).not.toContain('manifest.json');
  });
});
