import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import semver from 'semver';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { recipes } from './support.ts';

interface Row extends Record<string, unknown> {
  kubernetes: string;
  latest: string;
  containerd: string;
  cri: string;
  kubeadmApi: string;
  patches?: { from: number; [fact: string]: unknown }[];
}
const { rows } = parse(readFileSync(join(recipes, 'versions.yaml'), 'utf8')) as { rows: Row[] };
const minor = (row: Row): number => Number(row.kubernetes.split('.')[1]);

test('one row per minor, none left out', () => {
  expect(rows.map(minor)).toEqual(rows.map((_row, index) => 20 + index));
});

test('the oldest row is what Debian 12 can serve together', () => {
  expect(rows[0]).toMatchObject({
    kubernetes: '1.20',
    containerd: '1.6.20',
    runc: '1.1.5',
    cni: '1.1.1',
    pause: '3.2',
    etcd: '3.4.13-0',
    corednsImage: 'coredns',
    coredns: '1.7.0',
    imageRepository: 'k8s.gcr.io',
  });
});

// YAML reads an unquoted 3.10 as the number 3.1.
test('every fact is text', () => {
  for (const row of rows)
    for (const [fact, value] of Object.entries(row))
      if (fact !== 'patches') expect.soft(typeof value, `${row.kubernetes} ${fact}`).toBe('string');
});

test('every kubelet finds the CRI it speaks: v1alpha2 left with containerd 2, v1 came with 1.6.15', () => {
  for (const row of rows) {
    if (minor(row) < 26) expect.soft(semver.lt(row.containerd, '2.0.0'), row.kubernetes).toBe(true);
    else expect.soft(semver.gte(row.containerd, '1.6.15'), row.kubernetes).toBe(true);
    expect.soft(row.cri, row.kubernetes).toBe(minor(row) < 23 ? 'v1alpha2' : 'v1');
  }
});

test('every kubeadm knows the API it is given', () => {
  const lives: Record<string, readonly [number, number]> = { v1beta2: [15, 26], v1beta3: [22, 35], v1beta4: [31, 99] };
  for (const row of rows) {
    const [first, last] = lives[row.kubeadmApi]!;
    expect.soft(minor(row), row.kubernetes).toBeGreaterThanOrEqual(first);
    expect.soft(minor(row), row.kubernetes).toBeLessThanOrEqual(last);
  }
});

test('changes within a minor are in order and within what was released', () => {
  for (const row of rows) {
    const from = (row.patches ?? []).map((patch) => patch.from);
    expect.soft(from, row.kubernetes).toEqual([...from].sort((a, b) => a - b));
    expect.soft(Math.max(0, ...from), row.kubernetes).toBeLessThanOrEqual(semver.patch(row.latest));
    expect.soft(row.latest.startsWith(`v${row.kubernetes}.`), row.kubernetes).toBe(true);
  }
});
