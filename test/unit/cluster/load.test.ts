/** What a node says about its images, and what that leaves to be sent. */
import { describe, expect, test } from 'vitest';
import { parseAnswer } from '../../../src/cluster/load/node-images.ts';
import { isPresent, planNode } from '../../../src/cluster/load/plan.ts';
import { type Descriptor, type Digest, mediaType } from '../../../src/oci/descriptor.ts';
import type { Image } from '../../../src/oci/image/image.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}` as Digest;
const blob = (digit: string, size: number, type: string = mediaType.layer): Descriptor => ({
  mediaType: type,
  digest: digest(digit),
  size,
});
const [index, manifest, config, base, top] = [
  digest('1'),
  blob('2', 500, mediaType.manifest),
  blob('3', 300, mediaType.config),
  blob('4', 9000),
  blob('5', 70),
];

const answer = (config: string, rest = '0') =>
  `${[
    'aarch64',
    config,
    'Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 1000 400 600 40% /var',
    rest,
    // ctr 1.6.20
    `REF TYPE DIGEST SIZE PLATFORMS LABELS \ndocker.io/library/app:1 application/vnd.oci.image.manifest.v1+json ${manifest.digest} 28.7 MiB linux/arm64 io.cri-containerd.image=managed \n${digest('3')} application/vnd.oci.image.manifest.v1+json ${manifest.digest} 28.7 MiB linux/arm64 io.cri-containerd.image=managed `,
    `${manifest.digest}\n${digest('3')}\n${base.digest}`,
  ].join('\n%%\n')}\n`;

const version2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n  snapshotter = "native"\n';
const version3 = "version = 3\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = 'fuse-overlayfs'\n";
const state = parseAnswer('n', answer(version2));

const image = (architecture: string, layers = [base, top], names = ['docker.io/library/app:1']): Image => {
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => layer.digest) };
  const documents = new Map<Digest, object>([
    [manifest.digest, { schemaVersion: 2, config, layers }],
    [config.digest, { os: 'linux', architecture, rootfs }],
  ]);
  return {
    root: manifest,
    names,
    title: 'test',
    document: async ({ digest: wanted, size }) => Buffer.from(JSON.stringify(documents.get(wanted)).padEnd(size)),
    blob: async function* () {},
    prepare: async () => {},
    referrers: async () => [],
  };
};

describe('what a node says', () => {
  test('its platform, its free bytes, its names and blobs', () => {
    expect(state).toMatchObject({ platform: { architecture: 'arm64' }, free: 600 * 1024, hasLocalImport: false });
    expect([...state.names.keys()]).toEqual(['docker.io/library/app:1', config.digest]);
    expect(state.blobs).toEqual(new Set([manifest.digest, config.digest, base.digest]));
  });

  test('the snapshotter of the CRI plugin, wherever this version of containerd has it', () => {
    const all = [version2, version3, 'version = 2\n'].map((text) => parseAnswer('n', answer(text)).snapshotter);
    expect(all).toEqual(['native', 'fuse-overlayfs', 'overlayfs']);
    expect(parseAnswer('n', answer(version3, '2')).hasLocalImport).toBe(true);
  });

  test('nothing, when it has no image', () => {
    const empty = parseAnswer('n', answer(version2).replace(/REF[^%]*/, 'REF TYPE DIGEST SIZE PLATFORMS LABELS \n'));
    expect(empty.names.size).toBe(0);
  });
});

describe('what has to travel', () => {
  test('nothing for a name that stands for this manifest, or for this config by another one', async () => {
    const plan = await planNode(state, [image('arm64')], 't');
    expect(plan).toMatchObject({ arrivals: [], present: ['docker.io/library/app:1'] });
    expect(isPresent(state, 'docker.io/library/app:1', config.digest, index)).toBe(true);
    expect(isPresent(state, 'docker.io/library/app:1', digest('9'), index)).toBe(false);
    expect(isPresent(state, 'docker.io/library/app:2', config.digest, manifest.digest)).toBe(false);
  });

  test('the layers that the node lacks, each once, and the documents', async () => {
    const one = image('arm64', [base, top, top], ['a/b:1', 'a/b:2']);
    const two = image('arm64', [base, top], ['a/b:3']);
    const plan = await planNode(state, [one, two], 't');
    expect(plan.arrivals).toEqual([
      { temporary: 'localhost/kina-load/t:0', config: config.digest, names: ['a/b:1', 'a/b:2'] },
      { temporary: 'localhost/kina-load/t:1', config: config.digest, names: ['a/b:3'] },
    ]);
    expect(plan.members.map(({ name }) => name.slice(0, 14))).toEqual([
      'oci-layout',
      'index.json',
      ...['2', '3', '5'].map((digit) => `blobs/sha256/${digit}`),
    ]);
    expect(plan).toMatchObject({ sent: 500 + 300 + 70, there: 9000 });
  });

  test('a layer that is not on the node is not there because an image of that name is', async () => {
    const plan = await planNode({ ...state, blobs: new Set() }, [image('arm64', [base], ['a/b:1'])], 't');
    expect(plan).toMatchObject({ sent: 500 + 300 + 9000, there: 0 });
  });

  test('never an image for another platform', async () => {
    await expect(planNode(state, [image('amd64')], 't')).rejects.toThrow(
      'is not for linux/arm64, the platform of node n',
    );
  });
});
