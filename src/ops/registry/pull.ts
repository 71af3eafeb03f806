/** `kina pull`: an image from a registry into the store, all of it or some platforms, under its name. */

import { type Descriptor, isIndexType, maxManifestBytes, parseIndex } from '../../oci/descriptor.ts';
import { buildIndex } from '../../oci/image/build.ts';
import { readContents } from '../../oci/image/contents.ts';
import { partsOf } from '../../oci/image/parts.ts';
import { choosePlatforms } from '../../oci/image/select.ts';
import type { Platform } from '../../oci/platform.ts';
import { choosePlatform } from '../../oci/registry/client.ts';
import type { Session } from '../../session/session.ts';
import { type KeptSource, openSource } from './source.ts';

/**
 * The descriptor of the image, named `name` in the store. With `platforms` it is an index of these alone, as `kina image
 * save --platform` makes it. Throws `platform` when the image lacks one, and what reading a registry throws.
 */
export async function pullImage(
  ref: string,
  name: string,
  platforms: readonly Platform[] | undefined,
  tools: Session,
): Promise<Descriptor> {
  const source = await openSource({ type: 'registry', ref }, tools);
  const root = await narrow(source, ref, platforms, tools);
  const { blobs } = await partsOf(source, root);
  tools.reporter.expect('fetch', blobs.length, sum(blobs));
  await source.keep(blobs);
  choosePlatforms(ref, await readContents(tools.store, root), platforms);
  await tools.store.tag(name, root);
  return root;
}

async function narrow(
  source: KeptSource,
  ref: string,
  platforms: readonly Platform[] | undefined,
  { store }: Session,
): Promise<Descriptor> {
  if (!platforms || !isIndexType(source.root.mediaType)) return source.root;
  const index = parseIndex(await source.readBytes(source.root.digest, maxManifestBytes), ref);
  const chosen = platforms.map((platform) => choosePlatform(index.manifests, platform, ref));
  if (chosen.length === index.manifests.length) return source.root;
  return buildIndex(store, chosen, index.annotations);
}

function sum(blobs: readonly Descriptor[]): number {
  return blobs.reduce((total, { size }) => total + size, 0);
}
