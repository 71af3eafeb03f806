/** Image archives as other programs write them, small ones. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';

const sha = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** An uncompressed layer with one file. */
export function layerOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        0', 148);
  header.write('ustar\0', 257);
  header.write('00', 263);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc(512 - (content.length % 512 || 512) + 1024)]);
}

function configOf(architecture: string, layers: readonly Buffer[]): Buffer {
  const diffIds = layers.map((layer) => `sha256:${sha(layer)}`);
  return json({ os: 'linux', architecture, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } });
}

export interface DockerImage {
  readonly file: string;
  readonly config: string;
}

/** As podman and Docker before 25 write it, for this machine: layers in files of their own, `manifest.json` last. */
export async function dockerArchive(file: string, name: string, layers: readonly Buffer[]): Promise<DockerImage> {
  const config = configOf(process.arch === 'arm64' ? 'arm64' : 'amd64', layers);
  const entry = { Config: `${sha(config)}.json`, RepoTags: [name], Layers: layers.map((layer) => `${sha(layer)}.tar`) };
  await tar(file, [
    ...layers.map((layer) => [`${sha(layer)}.tar`, layer] as const),
    [entry.Config, config],
    ['manifest.json', json([entry])],
  ]);
  return { file, config: `sha256:${sha(config)}` };
}

/** An OCI archive with an index for these architectures. */
export async function ociArchive(
  file: string,
  name: string,
  platforms: Record<string, readonly Buffer[]>,
): Promise<void> {
  const blobs = new Map<string, Buffer>();
  const put = (mediaType: string, bytes: Buffer) => {
    blobs.set(sha(bytes), bytes);
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest: `sha256:${sha(bytes)}`, size: bytes.length };
  };
  const manifests = Object.entries(platforms).map(([architecture, layers]) => {
    const config = put('config.v1+json', configOf(architecture, layers));
    const parts = layers.map((layer) => put('layer.v1.tar', layer));
    return {
      ...put('manifest.v1+json', json({ schemaVersion: 2, config, layers: parts })),
      platform: { os: 'linux', architecture },
    };
  });
  const index = put('index.v1+json', json({ schemaVersion: 2, manifests }));
  const annotations = { 'org.opencontainers.image.ref.name': name };
  await tar(file, [
    ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
    ['index.json', json({ schemaVersion: 2, manifests: [{ ...index, annotations }] })],
    ...[...blobs].map(([hex, bytes]) => [`blobs/sha256/${hex}`, bytes] as const),
  ]);
}

/** A docker-archive as `docker save ID` writes it. */
export async function unnamed(file: string, layers: readonly Buffer[]): Promise<void> {
  const config = configOf(process.arch === 'arm64' ? 'arm64' : 'amd64', layers);
  const entry = { Config: 'c.json', RepoTags: null, Layers: layers.map((_, i) => `${i}/layer.tar`) };
  await tar(file, [
    ...layers.map((layer, i) => [`${i}/layer.tar`, layer] as const),
    ['c.json', config],
    ['manifest.json', json([entry])],
  ]);
}

/** With the system's tar, in this order. */
async function tar(file: string, members: readonly (readonly [string, Buffer])[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-tar-'));
  try {
    for (const [name, bytes] of members) {
      await mkdir(join(folder, dirname(name)), { recursive: true });
      await writeFile(join(folder, name), bytes);
    }
    await execa('tar', ['-cf', file, '-C', folder, ...members.map(([name]) => name)]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
