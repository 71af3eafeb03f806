/**
 * The whole of what every supported minor version is told, in every shape and family. One file per kubeadm API and shape
 * is kept in full, for the oldest version of the API with IPv4; `differences.txt` has the lines by which each other
 * version and family differs. Regenerate with `vitest -u` and read the diff.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { versionTable } from '../../../src/build/versions.ts';
import type { IpFamily } from '../../../src/cluster/config/cluster.ts';
import { kubeadmApi } from '../../../src/cluster/kubeadm/api.ts';
import { cluster, documents, examples, families, type Shape, shapes } from './kubeadm-support.ts';

const golden = join(import.meta.dirname, 'kubeadm-golden');
const minors = (await versionTable()).map((row) => `v${row.kubernetes}.0`);
const oldest = new Map([...minors].reverse().map((version) => [kubeadmApi(version), version]));

/** All of a shape: the first node before there is a CA, and each kind of joining node. */
function whole(version: string, shape: Shape, family: IpFamily): string {
  const from = cluster(shape, family);
  const [first, ...others] = examples(from);
  const texts = [
    `# ${first!.name}\n${documents(from, version, first, { caCertHashes: undefined })}`,
    ...others.map((node) => `# ${node.name}, joining\n${documents(from, version, node)}`),
  ];
  // the version itself is checked below, and would be a difference everywhere
  return texts.join('\n').replaceAll(`kubernetesVersion: ${version}\n`, 'kubernetesVersion: VERSION\n');
}

describe.each([...oldest])('%s (from %s)', (api, version) => {
  test.each(Object.keys(shapes) as Shape[])('%s', async (shape) => {
    await expect(whole(version, shape, 'ipv4')).toMatchFileSnapshot(join(golden, `${api}-${shape}.yaml`));
  });
});

test('every version, shape and family differs from the file of its API by these lines alone', async () => {
  const groups = new Map<string, string[]>();
  const known = new Map<string, string>(); // most versions say the same
  for (const version of minors)
    for (const shape of Object.keys(shapes) as Shape[])
      for (const family of families) {
        const api = kubeadmApi(version);
        const base = whole(oldest.get(api)!, shape, 'ipv4');
        const now = whole(version, shape, family);
        const text = known.get(base + now) ?? difference(base.split('\n'), now.split('\n'));
        known.set(base + now, text);
        const title = `${api}-${shape}.yaml, ${family}:\n${text || '  no difference\n'}`;
        groups.set(title, [...(groups.get(title) ?? []), version.replace(/\.0$/, '')]);
      }
  const lines = [...groups].map(([title, versions]) => `== ${versions.join(' ')} against ${title}`);
  expect(lines.flatMap((line) => [...line.matchAll(/v1\.\d+(?= )/g)])).toHaveLength(minors.length * 9);
  await expect(lines.join('\n')).toMatchFileSnapshot(join(golden, 'differences.txt'));
});

test('each names its own version, once per node', () => {
  for (const version of minors) {
    const text = documents(cluster(), version);
    expect([...text.matchAll(/kubernetesVersion: (.*)/g)].map(([, found]) => found)).toEqual([version]);
  }
});

/** The lines that were removed and added, by longest common subsequence, with their place in the old text. */
function difference(old: readonly string[], now: readonly string[]): string {
  const length = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      length[i]![j] = old[i] === now[j] ? length[i + 1]![j + 1]! + 1 : Math.max(length[i + 1]![j]!, length[i]![j + 1]!);
  let text = '';
  for (let i = 0, j = 0; i < old.length || j < now.length; ) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      i++;
      j++;
    } else if (j < now.length && (i === old.length || length[i]![j + 1]! > length[i + 1]![j]!)) {
      text += `  ${i} + ${now[j++]}\n`;
    } else {
      text += `  ${i + 1} - ${old[i++]}\n`;
    }
  }
  return text;
}
