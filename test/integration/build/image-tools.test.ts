/** The tools on images, on real builds: what they say is compared with what tar and the recipe say. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { diffImages } from '../../../src/layers/image/diff.ts';
import { findFiles } from '../../../src/layers/image/files.ts';
import { verifyImage } from '../../../src/layers/image/verify.ts';
import { readContents } from '../../../src/oci/image/contents.ts';
import { narrowImage } from '../../../src/oci/image/select.ts';
import { writeReport } from '../../../src/ops/report/write.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { check } from '../../support/command.ts';
import { smallRecipe } from '../../support/kina.ts';
import { describeWith } from '../../support/requirements.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

let upstream: Upstream;
let workshop: Workshop;
let folder: string;

beforeAll(async () => {
  upstream = await startUpstream();
  workshop = await openWorkshop({ mirror: [upstream.url] });
  folder = await mkdtemp(join(tmpdir(), 'kina-images-'));
});
afterAll(async () => {
  await workshop.close();
  await upstream.stop();
  await rm(folder, { recursive: true, force: true });
});

const small = (source: string, platforms = ['linux/amd64']) =>
  workshop.build({ recipe: smallRecipe, source, platforms });

describe('two Kubernetes versions of one recipe', () => {
  test('what differs is Kubernetes: its component, its layers, its files', async () => {
    const { store } = workshop.tools;
    const [a, b] = [await small('v1.34.1'), await small('v1.34.2')];
    const sides = [await readContents(store, a.index), await readContents(store, b.index)] as const;
    const diff = await diffImages(store, sides[0].platforms, sides[1].platforms);
    const [platform] = diff.platforms;
    const components = a.platforms[0]!.components;
    for (const { name, a: before } of platform!.components) expect(before).toBe(components[name]);
    expect(platform!.files.map((f) => f.name)).toContain('usr/bin/kubelet');
    expect(platform!.files.filter((f) => /containerd|runc|motd/.test(f.name))).toEqual([]);
    expect(await verifyImage(store, b.index)).toMatchObject({ damage: [] });
  });

  test('one platform saved out of two has the digest of a build of that platform', async () => {
    const { store } = workshop.tools;
    const both = await readContents(store, (await small('v1.34.2', ['linux/amd64', 'linux/arm64'])).index);
    const arm = both.platforms.filter(({ config }) => config.architecture === 'arm64');
    const alone = await small('v1.34.2', ['linux/arm64']);
    expect((await narrowImage(store, both, arm)).digest).toBe(alone.index.digest);
  });
});

describeWith('files against bsdtar', ['bsdtar'], () => {
  test('every path of every layer, no other, with its size', async () => {
    const { store } = workshop.tools;
    const built = await small('v1.34.2');
    const [image] = (await readContents(store, built.index)).platforms;
    const listed = new Set<string>();
    for (const { diffId } of built.platforms[0]!.layers)
      for (const line of (await check(['bsdtar', '-tf', store.blobPath(diffId)])).split('\n'))
        if (line) listed.add(line.replace(/\/$/, ''));
    const files = await findFiles(store, image!, undefined);
    expect(files.map(({ path }) => path).sort()).toEqual([...listed].sort());
    expect(files.find(({ path }) => path === 'etc/motd')).toMatchObject({ layer: 'base', size: 'hello red\n'.length });
  });
});

test('the report of a build shows its components', async () => {
  const { store } = workshop.tools;
  const built = await small('v1.34.2');
  const page = join(folder, 'report.html');
  await writeReport(page, store, built.index, 'small', []);
  const text = await readFile(page, 'utf8');
  for (const [name, version] of Object.entries(built.platforms[0]!.components))
    expect(text).toContain(`<td>${name}</td><td>${version}</td>`);
});
