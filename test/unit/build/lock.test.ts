import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkLock, fromLock, type Lock, lockDigest, lockFrom } from '../../../src/build/lock.ts';
import { formatLock, readLock, writeLock } from '../../../src/build/lock-file.ts';
import type { Plan } from '../../../src/build/plan/model.ts';
import { digestOf } from '../../../src/host/json.ts';

const hex = (c: string): `sha256:${string}` => `sha256:${c.repeat(64)}`;
const lock: Lock = {
  version: 2,
  recipe: 'node',
  kubernetes: 'v1.20.2',
  variables: { suite: 'trixie', odd: 'a: b, {c}' },
  platforms: {
    'linux/arm64': {
      'base/debian': {
        step: hex('a'),
        notes: { 'debian/trixie': '2026-09-12T07:55:41.000Z' },
        artifacts: [
          {
            type: 'deb',
            name: 'bash',
            version: '5.2.37-2+b5',
            url: 'debian:debian/pool/main/b/bash/bash_5.2.37-2+b5_arm64.deb',
            size: 1480000,
            digest: hex('b'),
            verifiedBy: 'OpenPGP',
            fallbacks: ['https://snapshot.debian.org/x'],
          },
          {
            type: 'deb',
            name: 'apt',
            version: '3.0',
            url: 'debian:debian/pool/a',
            size: 0,
            digest: hex('c'),
            verifiedBy: 'OpenPGP',
          },
        ],
      },
      'kubernetes/kubernetes': {
        step: hex('d'),
        inputs: { kubernetes: 'v1.20.2' },
        absent: ['coredns'],
        components: { containerd: '1.6.20' },
      },
    },
  },
};

/** Of no platform: the steps that it would have are asked for one by one. */
const plan: Plan = {
  recipe: 'node',
  description: '',
  kubernetes: 'v1.20.2',
  source: undefined,
  variables: {},
  image: {},
  platforms: [],
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-lock-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the lock file', () => {
  test('is read back as it was written, with artifacts sorted', async () => {
    const path = join(folder, 'kina.lock');
    await writeLock(path, lock);
    const back = await readLock(path);
    expect(back.platforms['linux/arm64']!['base/debian']!.artifacts!.map((a) => a.name)).toEqual(['apt', 'bash']);
    expect(formatLock(back)).toBe(formatLock(lock));
    expect(back.variables).toEqual(lock.variables);
  });

  test('has one line per artifact, so that a diff names what changed', () => {
    const text = formatLock(lock);
    expect(text.split('\n').filter((l) => l.includes('type: deb'))).toHaveLength(2);
    expect(text.endsWith('\n')).toBe(true);
    expect(text).toContain('- { type: deb, name: bash, version: 5.2.37-2+b5'.replace('5.2.37-2+b5', '"5.2.37-2+b5"'));
  });

  test('has an identity that remarks and second addresses do not change', () => {
    const changed = structuredClone(lock);
    changed.platforms['linux/arm64']!['base/debian']!.notes = { 'debian/trixie': '2027-01-01T00:00:00.000Z' };
    changed.platforms['linux/arm64']!['base/debian']!.artifacts![0]!.fallbacks = ['https://snapshot.debian.org/y'];
    expect(lockDigest(changed)).toBe(lockDigest(lock));
    changed.platforms['linux/arm64']!['base/debian']!.artifacts![0]!.digest = hex('e');
    expect(lockDigest(changed)).not.toBe(lockDigest(lock));
  });

  test('damage is named', async () => {
    await expect(readLock(join(folder, 'none.lock'))).rejects.toThrow('no lock file');
    const { writeFile } = await import('node:fs/promises');
    await writeFile(join(folder, 'bad.lock'), 'version: 3\n');
    await expect(readLock(join(folder, 'bad.lock'))).rejects.toThrow('is not a lock of this version of kina');
    // A lock from elsewhere names no file of this machine as its recipe.
    await writeLock(join(folder, 'path.lock'), { ...lock, recipe: '../other/recipe.yaml' });
    await expect(readLock(join(folder, 'path.lock'))).rejects.toMatchObject({
      details: [expect.stringContaining('expected a recipe name')],
    });
  });
});

describe('a lock of version 1', () => {
  const file = (name: string, url: string) => ({ name, url, size: 1, digest: hex('1'), verifiedBy: 'x' });
  const blob = (name: string) => file(name, `https://registry.example/v2/app/blobs/${hex('1')}`);
  const manifest = {
    ...file('app:1 manifest', `https://registry.example/v2/app/manifests/${hex('2')}`),
    digest: hex('2'),
  };
  /** As such a lock sorted them: `layer 10/11` before `layer 2/11`. */
  const layers = [1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => blob(`app:1 layer ${n}/11`));
  const step = { step: hex('a') };
  const old = (steps: object) => ({
    version: 1,
    recipe: 'node',
    kubernetes: 'v1.34.2',
    variables: {},
    images: { 'linux/amd64': hex('f') },
    platforms: { 'linux/amd64': steps },
  });
  const names = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11'].map((n) => `app:1 layer ${n}/11`);

  test('is read: artifacts get their types, images their parts in order', () => {
    const read = lockFrom(
      old({
        'base/debian': { ...step, artifacts: [file('bash', 'debian:debian/pool/bash.deb')] },
        'base/from': { ...step, inputs: { manifest: hex('3') }, artifacts: layers },
        'kubernetes/kubernetes': {
          ...step,
          inputs: { kubernetes: 'v1.34.2' },
          artifacts: [file('kubelet', 'https://dl.k8s.io/v1.34.2/bin/linux/amd64/kubelet'), file('x', 'local:x')],
        },
        'images/images': {
          ...step,
          inputs: { 'localhost/app:1': hex('2') },
          artifacts: [blob('app:1 config'), ...layers, manifest],
        },
      }),
      'kina.lock',
    );
    const { 'base/debian': debian, 'base/from': from, ...others } = read.platforms['linux/amd64']!;
    expect(read).toMatchObject({ version: 2, source: 'release', settings: { 'linux/amd64': hex('f') } });
    expect(debian!.artifacts![0]!.type).toBe('deb');
    expect(from).toMatchObject({ base: { name: 'app:1', manifest: hex('3') } });
    expect(from!.base!.layers.map(({ name }) => name)).toEqual(names);
    expect(others['kubernetes/kubernetes']!.artifacts!.map(({ type }) => type)).toEqual(['binary', 'local']);
    const [image] = others['images/images']!.images!;
    expect(image).toMatchObject({
      name: 'localhost/app:1',
      manifest: { type: 'manifest' },
      config: { type: 'config' },
    });
    expect(image!.layers.map(({ name }) => name)).toEqual(names);
    expect(others['images/images']!.inputs).toBeUndefined();
  });

  // Labels of images have this digest: it must never change.
  test('has the digest that it always had', () => {
    const digest = lockDigest(
      lockFrom(
        old({
          'images/images': {
            ...step,
            inputs: { 'localhost/app:1': hex('2') },
            artifacts: [blob('app:1 config'), ...layers, manifest],
          },
        }),
        'x',
      ),
    );
    const { images: _, ...pinning } = old({
      'images/images': {
        ...step,
        inputs: { 'localhost/app:1': hex('2') },
        artifacts: [blob('app:1 config'), ...layers, manifest],
      },
    });
    expect(digest).toBe(digestOf(pinning));
  });

  test('with an image that cannot be put together is refused, with the command that writes it again', () => {
    const lost = { ...step, inputs: { 'localhost/app:1': hex('2') }, artifacts: [...layers, manifest] };
    expect(() => lockFrom(old({ 'images/images': lost }), 'kina.lock')).toThrow(
      expect.objectContaining({ code: 'lock', hint: expect.stringContaining('kina lock') }),
    );
  });
});

describe('building from a lock', () => {
  test('reports every disagreement at once', () => {
    const { locked, finish } = fromLock(lock, 'kina.lock');
    locked('linux/arm64', 'base/debian', hex('f'));
    locked('linux/arm64', 'user/file', hex('f'));
    expect(() => finish(plan)).toThrow(
      expect.objectContaining({
        code: 'lock',
        details: [
          'linux/arm64 base/debian: the step in the recipe differs from the locked one',
          'linux/arm64 user/file: in the recipe, not in the lock',
          'linux/arm64 kubernetes/kubernetes: in the lock, not in the recipe',
        ],
      }),
    );
  });

  test('a lock for something else is told before anything is filled in', () => {
    const right = { recipe: lock.recipe, kubernetes: lock.kubernetes, platforms: ['linux/arm64'] };
    expect(() => checkLock(lock, 'kina.lock', right)).not.toThrow();
    const wrong = { recipe: 'other', kubernetes: undefined, platforms: ['linux/arm64', 'linux/amd64'] };
    expect(() => checkLock(lock, 'kina.lock', wrong)).toThrow(
      expect.objectContaining({
        code: 'lock',
        details: [
          `the lock is for recipe ${lock.recipe}, this is other`,
          `the lock is for Kubernetes ${lock.kubernetes}, but none is requested`,
          'linux/amd64: not in the lock, which is for linux/arm64',
        ],
      }),
    );
  });

  test('gives the pins when all agree', () => {
    const { locked, finish } = fromLock(lock, 'kina.lock');
    expect(locked('linux/arm64', 'base/debian', hex('a'))!.artifacts).toHaveLength(2);
    expect(locked('linux/arm64', 'kubernetes/kubernetes', hex('d'))!.absent).toEqual(['coredns']);
    expect(() => finish(plan)).not.toThrow();
  });
});
