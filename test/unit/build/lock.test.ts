import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  checkLock,
  formatLock,
  fromLock,
  type Lock,
  lockDigest,
  readLock,
  writeLock,
} from '../../../src/build/lock.ts';
import type { Plan } from '../../../src/build/plan/model.ts';

const hex = (c: string): `sha256:${string}` => `sha256:${c.repeat(64)}`;
const lock: Lock = {
  version: 1,
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
            name: 'bash',
            version: '5.2.37-2+b5',
            url: 'debian:debian/pool/main/b/bash/bash_5.2.37-2+b5_arm64.deb',
            size: 1480000,
            digest: hex('b'),
            verifiedBy: 'OpenPGP',
            fallbacks: ['https://snapshot.debian.org/x'],
          },
          {
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
    expect(text.split('\n').filter((l) => l.includes('name:'))).toHaveLength(2);
    expect(text.endsWith('\n')).toBe(true);
    expect(text).toContain('- { name: bash, version: 5.2.37-2+b5'.replace('5.2.37-2+b5', '"5.2.37-2+b5"'));
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
    await writeFile(join(folder, 'bad.lock'), 'version: 2\n');
    await expect(readLock(join(folder, 'bad.lock'))).rejects.toThrow('is not a lock of this version of kina');
    // A lock from elsewhere names no file of this machine as its recipe.
    await writeLock(join(folder, 'path.lock'), { ...lock, recipe: '../other/recipe.yaml' });
    await expect(readLock(join(folder, 'path.lock'))).rejects.toMatchObject({
      details: [expect.stringContaining('expected a recipe name')],
    });
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
          "linux/arm64 base/debian: the recipe's step is not the one that was locked",
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
          `the lock is for Kubernetes ${lock.kubernetes}, asked for is none`,
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
