/** Images as other tools make them: layers with whiteouts, devices, fractions of seconds, names twice. */
import { buffer } from 'node:stream/consumers';
import { type Header, pack } from 'tar-stream';
import { type Compression, compressLayer } from '../../src/oci/compress.ts';
import { type Descriptor, type Digest, mediaType } from '../../src/oci/descriptor.ts';
import { buildImage } from '../../src/oci/image/build.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import type { Store } from '../../src/oci/store/store.ts';

/** A member of a tar: a file unless it says otherwise, and of one moment in 2001. */
export interface Piece extends Partial<Omit<Header, 'pax'>> {
  readonly name: string;
  readonly pax?: Readonly<Record<string, string>>;
  readonly content?: string | Buffer;
}
interface ImageOptions {
  readonly compression?: Compression;
  readonly config?: { readonly User?: string; readonly Env?: readonly string[] };
  /** What the config says instead of the layers' own digests. */
  readonly diffIds?: readonly Digest[];
}

function tarOf(pieces: readonly Piece[]): Promise<Buffer> {
  const tar = pack();
  const mtime = new Date(1e12);
  for (const { content = '', ...header } of pieces) tar.entry({ mtime, ...header } as Header, content);
  tar.finalize();
  return buffer(tar);
}

/** The manifest's descriptor; everything is in the store, without a name. For this machine's architecture. */
export async function foreignImage(
  store: Store,
  layers: readonly (readonly Piece[])[],
  { compression, config = {}, diffIds = [] }: ImageOptions = {},
): Promise<Descriptor> {
  const built = [];
  for (const [i, pieces] of layers.entries()) {
    const plain = { mediaType: mediaType.layer, ...(await store.writeBytes(await tarOf(pieces))) };
    const descriptor = compression ? await compressLayer(store, plain, compression) : plain;
    built.push({ diffId: diffIds[i] ?? plain.digest, descriptor, history: { createdBy: 'test' } });
  }
  const { manifest } = await buildImage(store, {
    platform: hostPlatform(),
    layers: built,
    config,
    created: 0,
  });
  return manifest;
}
