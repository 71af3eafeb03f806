/** A store in a folder of its own and a small image in it; the folder goes with the test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { canonicalJson } from '../../../src/host/json.ts';
import { type Compression, compressLayer } from '../../../src/oci/compress.ts';
import { type Descriptor, mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { tarStream } from '../../../src/oci/output/tar.ts';
import { type Architecture, platformOf } from '../../../src/oci/platform.ts';
import { Store } from '../../../src/oci/store/store.ts';

export async function scratch(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-oci-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function newStore(): Promise<Store> {
  return Store.open(join(await scratch(), 'store'));
}

/** A layer with one file `hello`; `padding` bytes of zeros make it bigger. */
export async function smallLayer(store: Store, text = 'hello\n', padding = 0): Promise<Descriptor> {
  const bytes = Buffer.concat([Buffer.from(text), Buffer.alloc(padding)]);
  const written = await store.write(tarStream(store, [{ name: 'etc/hello', bytes }]));
  return { mediaType: mediaType.layer, ...written };
}

export interface SmallImage {
  readonly index: Descriptor;
  readonly layer: Descriptor;
}

/** An image of one layer for these platforms, in the store, without a name. */
export async function smallImage(
  store: Store,
  architectures: readonly Architecture[],
  compression?: Compression,
  text = 'hello\n',
): Promise<SmallImage> {
  const plain = await smallLayer(store, text);
  const layer = compression ? await compressLayer(store, plain, compression) : plain;
  const manifests = await Promise.all(
    architectures.map(async (architecture) => {
      const built = await buildImage(store, {
        platform: platformOf(architecture),
        layers: [{ diffId: plain.digest, descriptor: layer, history: { createdBy: 'kina base' } }],
        config: { Entrypoint: ['/init'], Env: ['container=docker'], Labels: { 'dev.kina.recipe': 'test' } },
        created: 1577836800,
      });
      return built.manifest;
    }),
  );
  return { index: await buildIndex(store, manifests, { 'org.opencontainers.image.title': 'test' }), layer };
}

export function json(value: unknown): Buffer {
  return Buffer.from(canonicalJson(value));
}

/** Collects a stream. */
export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}
