/** Images for tests about moving them: layers of noise, which no compression makes smaller and nothing here unpacks. */
import { createCipheriv, createHash } from 'node:crypto';
import { type Descriptor, mediaType } from '../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../src/oci/image/build.ts';
import { platformOf } from '../../src/oci/platform.ts';
import type { Store } from '../../src/oci/store/store.ts';

/** The same bytes for the same seed. */
function noise(seed: string, size: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

/** An index of two platforms that share a layer; `sizes` are of the layers in bytes. */
export async function smallImage(store: Store, seed: string, sizes: readonly number[]): Promise<Descriptor> {
  const manifests: Descriptor[] = [];
  for (const architecture of ['amd64', 'arm64'] as const) {
    const layers = [];
    for (const [i, size] of sizes.entries()) {
      const written = await store.writeBytes(noise(`${seed} ${i} ${i === 0 ? 'shared' : architecture}`, size));
      const descriptor = { mediaType: mediaType.layer, ...written };
      layers.push({ diffId: written.digest, descriptor, history: { createdBy: `layer ${i}` } });
    }
    const config = { Labels: { seed } };
    manifests.push(
      (await buildImage(store, { platform: platformOf(architecture), layers, config, created: 0 })).manifest,
    );
  }
  return buildIndex(store, manifests);
}
