/** Preloaded images with zstd layers: the same images by id, smaller, and always from the compressor in the lock. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { zstdDecompressSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { expect, test } from 'vitest';
import { formatLock } from '../../../src/build/lock-file.ts';
import { useBuildSite } from '../../support/build-site.ts';

const site = useBuildSite('preload');

interface Described {
  readonly digest: string;
  readonly mediaType: string;
}

/** The OCI archive inside the node image, by blob name. */
async function archive(compression: string): Promise<{ blobs: Map<string, Buffer>; manifests: Described[] }> {
  const built = await site.workshop.build({ recipe: await recipe(compression), source: 'v1.34.2' });
  const file = (await site.workshop.files(built, 'linux/amd64')).get('kind/images/kubernetes.tar')!;
  const blobs = new Map<string, Buffer>();
  for await (const entry of Readable.from([file.data]).pipe(extract())) {
    const parts: Buffer[] = [];
    for await (const part of entry) parts.push(part as Buffer);
    blobs.set(entry.header.name.replace('blobs/sha256/', 'sha256:'), Buffer.concat(parts));
  }
  return { blobs, manifests: JSON.parse(blobs.get('index.json')!.toString()).manifests };
}

async function recipe(compression: string): Promise<string> {
  const path = join(site.folder, `${compression}.yaml`);
  await writeFile(
    path,
    `name: preload\nlayers:\n  - name: kubernetes\n    steps:\n      - kubernetes: { binaries: [kubelet], into: usr/bin }\n      - images: { release: [kube-proxy], path: kind/images/kubernetes.tar, compression: ${compression} }\n`,
  );
  return path;
}

test('the image id stays, layers are zstd of exactly what they were', async () => {
  const plain = await archive('none');
  const zstd = await archive('zstd');
  const read = ({ blobs, manifests }: typeof plain) =>
    JSON.parse(blobs.get(manifests[0]!.digest)!.toString()) as { config: Described; layers: Described[] };
  expect(read(zstd).config.digest).toBe(read(plain).config.digest);
  for (const [i, layer] of read(zstd).layers.entries()) {
    expect(layer.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd');
    const bytes = zstdDecompressSync(zstd.blobs.get(layer.digest)!);
    expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(read(plain).layers[i]!.digest);
  }
});

test('a lock made with another zstd is refused, not built into another digest', async () => {
  const path = await recipe('zstd');
  const { resolved } = await site.workshop.build({ recipe: path, source: 'v1.34.2' });
  const lock = join(site.folder, 'kina.lock');
  const text = formatLock(resolved.lock);
  expect(text).toContain(`compressor: "zstd ${process.versions.zstd}"`);
  await writeFile(lock, text.replace(/compressor: .*/, 'compressor: "zstd 1.4.0"'));
  await expect(site.workshop.build({ recipe: path, lock })).rejects.toThrow('locked with zstd 1.4.0');
});
