/**
 * The content of an image, independent of the SBOM format: Debian packages from the image's dpkg database, with the
 * licenses of their copyright files, and, if the store knows the build, every upstream artifact with its URL and digest
 * and every preloaded image. For other images, only the versions in their labels are known.
 */
import type { Artifact, ArtifactType } from '../../artifacts/artifact.ts';
import type { Lock } from '../../build/lock.ts';
import { isPackageText, packagesOf } from '../../layers/image/packages.ts';
import { readImage } from '../../layers/image/read.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import { nameOf } from '../../oci/image/select.ts';
import { labels } from '../../oci/node-conventions.ts';
import type { Store } from '../../oci/store/store.ts';
import type { InventoryItem } from './item.ts';
import { artifactsOf, originOf } from './origin.ts';
import { publicAddress } from './purl.ts';

export interface Inventory {
  readonly platform: string;
  readonly manifest: Digest;
  /** RFC 3339; the image's own time, so that documents are reproducible. */
  readonly created: string;
  readonly items: readonly InventoryItem[];
}

/** Reads the image. Throws `store` if it is damaged. */
export async function inventory(store: Store, image: PlatformImage): Promise<Inventory> {
  const origin = await originOf(store, image.manifest.config.digest);
  const artifacts = origin ? artifactsOf(origin) : [];
  const { packages } = packagesOf(await readImage(store, image, { texts: isPackageText }));
  const debian = [...packages.values()].map(({ name, version, architecture, licences }): InventoryItem => {
    const file = artifacts.find((one) => one.type === 'deb' && one.name === name && one.version === version);
    const found = file ? { url: publicAddress(file), sha256: file.digest.slice(7) } : {};
    return { kind: 'debian', name, version, architecture, licences, ...found };
  });
  const upstream = artifacts.filter(({ type }) => type !== 'deb' && !partsOfImages.has(type)).map(upstreamItem);
  const items = [...debian, ...(origin ? upstream : fromLabels(image)), ...(origin ? preloaded(origin) : [])];
  return {
    platform: nameOf(image),
    manifest: image.descriptor.digest,
    created: image.config.created ?? '1970-01-01T00:00:00Z',
    items: items.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
  };
}

/** Layers of images in registries are not listed, only the images. */
const partsOfImages: ReadonlySet<ArtifactType> = new Set(['manifest', 'config', 'layer']);

function upstreamItem(artifact: Artifact): InventoryItem {
  const { type, name, version, digest } = artifact;
  const kind = type === 'npm' ? 'npm' : 'upstream';
  return { kind, name, version, url: publicAddress(artifact), sha256: digest.slice(7), licences: [] };
}

function preloaded({ platforms }: Lock): InventoryItem[] {
  const steps = Object.values(platforms).flatMap((all) => Object.values(all));
  const images = new Map(
    steps.flatMap((step) => step.images ?? []).map(({ name, manifest }) => [name, manifest.digest]),
  );
  return [...images].map(([name, digest]) => {
    const colon = name.lastIndexOf(':');
    const tagged = colon > name.lastIndexOf('/');
    return {
      kind: 'image',
      name: tagged ? name.slice(0, colon) : name,
      version: tagged ? name.slice(colon + 1) : undefined,
      sha256: digest.slice(7),
      licences: [],
    };
  });
}

function fromLabels({ config }: PlatformImage): InventoryItem[] {
  const prefix = labels.component('');
  return Object.entries(config.config?.Labels ?? {})
    .filter(([label]) => label.startsWith(prefix))
    .map(([label, version]) => ({ kind: 'upstream', name: label.slice(prefix.length), version, licences: [] }));
}

function keyOf({ kind, name, version, architecture }: InventoryItem): string {
  return [kind, name, version ?? '', architecture ?? ''].join(' ');
}
