/** A store in a folder of its own and a small image in it; the folder goes with the test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { canonicalJson } from '../../../src/host/json.ts';
import { openArchive } from '../../../src/oci/archive/open.ts';
import { type Compression, compressLayer } from '../../../src/oci/compress.ts';
import { type Descriptor, mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { platformOf as platformOfImage } from '../../../src/oci/image/contents.ts';
import type { Image } from '../../../src/oci/image/image.ts';
import { tarStream } from '../../../src/oci/output/tar.ts';
import { type Architecture, type Platform, platformOf } from '../../../src/oci/platform.ts';
import { keepImage } from '../../../src/oci/store/keep.ts';
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
  const written = await store.write(tarStream(blobsOf(store), [{ name: 'etc/hello', bytes }]));
  return { mediaType: mediaType.layer, ...written };
}

/** The store's blobs, as `tarStream` reads them. */
export function blobsOf(store: Store): Pick<Image, 'blob'> {
  return { blob: ({ digest, size }) => store.verified(digest, size) };
}

/** Every image of an archive or layout in the store, one per platform. */
export async function importImages(store: Store, path: string, wanted?: readonly Platform[]) {
  const found = [];
  for (const image of await openArchive(store, path)) {
    const { contents } = await keepImage(store, image, wanted);
    for (const one of contents.platforms)
      found.push({
        names: image.names,
        platform: platformOfImage(one),
        manifest: { ...one.descriptor, platform: platformOfImage(one) },
        config: one.manifest.config,
        layers: one.manifest.layers,
        diffIds: one.config.rootfs.diff_ids,
      });
  }
  return found;
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
