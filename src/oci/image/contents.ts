/**
 * What an image is made of, found by one walk over its documents: indexes, manifests, configs. Layers are not read.
 *
 * Only what is asked for must be there. With `wanted` platforms, entries of an index for other platforms are not read,
 * because archives often lack them (docker and nerdctl save the whole index and the blobs of one platform). Without it,
 * every platform is asked for.
 */
import { KinaError } from '../../host/errors.ts';
import {
  type Descriptor,
  type DescriptorPlatform,
  type Digest,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  isIndexType,
  isManifestType,
  mediaType,
  notAnImage,
  parseConfig,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';
import { bestMatch, formatPlatform, type Platform, platformName } from '../platform.ts';
import { storeImage } from '../store/image.ts';
import type { Store } from '../store/store.ts';
import type { Image, Part } from './image.ts';

/** One platform of an image. */
export interface PlatformImage {
  /** Of the manifest, with `platform` when the index has it. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}

/** An index or a manifest, with its bytes. */
export interface Document extends Descriptor {
  readonly bytes: Buffer;
}

export interface ImageParts {
  /** Of the image itself. */
  readonly descriptor: Descriptor;
  /** Undefined when the image is a bare manifest. */
  readonly index: ImageIndex | undefined;
  /** Inner documents first; the last one is the image itself. */
  readonly documents: readonly Document[];
  /** Configs and layers, each digest once. */
  readonly parts: readonly (Descriptor & Part)[];
  /** Sizes in bytes of all documents and parts. */
  readonly blobs: ReadonlyMap<Digest, number>;
}

export interface ImageContents extends ImageParts {
  /** In the order of the index. Manifests that are not images (attestations, for example) are parts, not platforms. */
  readonly platforms: readonly PlatformImage[];
}

/**
 * The parts of an image, without reading configs: what a copy needs. Throws `archive` when a document is malformed or of
 * an unknown type, and what `Image.document` throws.
 */
export async function partsOf(image: Image, wanted?: readonly Platform[]): Promise<ImageParts> {
  return (await walk(image, wanted)).result();
}

/**
 * The parts and the platforms of an image; with `wanted`, the best match for each of them. Throws `platform` when the image
 * has none for one of them, and what `partsOf` throws.
 */
export async function contentsOf(image: Image, wanted?: readonly Platform[]): Promise<ImageContents> {
  const found = await walk(image, wanted);
  const [top] = found.manifests;
  if (!top && isManifestType(image.root.mediaType)) throw notAnImage(image.title, found.types.at(-1) ?? '');
  const all: PlatformImage[] = [];
  for (const { descriptor, manifest } of found.manifests)
    all.push({ descriptor, manifest, config: await readConfig(image, manifest) });
  return { ...found.result(), platforms: selectPlatforms(image.title, all, wanted, found.platforms) };
}

/** The contents of an image in the store. Throws `store` when a document is missing. */
export function readContents(store: Store, descriptor: Descriptor): Promise<ImageContents> {
  return contentsOf(storeImage(store, descriptor));
}

/** What the index says, else the config. */
export function platformOf({ descriptor, config }: PlatformImage): DescriptorPlatform {
  const { os, architecture, variant } = config;
  return descriptor.platform ?? { os, architecture, ...(variant ? { variant } : {}) };
}

/** Whether the walk found every entry of the index: false when some platforms were not wanted. */
export function isWhole({ index, blobs }: ImageContents): boolean {
  return index === undefined || index.manifests.every(({ digest }) => blobs.has(digest));
}

/**
 * The best match for each wanted platform, in the order of the image; all when none is named. Throws `platform` that lists
 * what there is (`known`).
 */
export function selectPlatforms(
  title: string,
  all: readonly PlatformImage[],
  wanted: readonly Platform[] | undefined,
  known: readonly DescriptorPlatform[] = all.map(platformOf),
): PlatformImage[] {
  if (!wanted) return [...all];
  const chosen = new Set<PlatformImage>();
  const absent: Platform[] = [];
  for (const platform of wanted) {
    // The architecture comes from the config: an index may be wrong, and a bare manifest does not contain it.
    const found = bestMatch(all, (one) => ({ ...one.config, variant: platformOf(one).variant }), platform);
    if (found) chosen.add(found);
    else absent.push(platform);
  }
  if (absent.length === 0) return all.filter((one) => chosen.has(one));
  const names = [...new Set((known.length > 0 ? known : all.map(({ config }) => config)).map(platformName))];
  throw new KinaError('platform', `${title} is not available for ${absent.map(formatPlatform).join(', ')}`, {
    details: [names.length > 0 ? `it is for ${names.join(', ')}` : 'its index names no platform'],
    hint: 'Choose another tag or image, or another platform.',
  });
}

/** Of several images those that are for a platform. Throws `platform` when none is. */
export async function imagesFor(images: readonly Image[], platform: Platform): Promise<Image[]> {
  const fitting: Image[] = [];
  let other: unknown;
  for (const image of images)
    try {
      await contentsOf(image, [platform]);
      fitting.push(image);
    } catch (error) {
      if (!(error instanceof KinaError) || error.code !== 'platform') throw error;
      other ??= error;
    }
  if (fitting.length === 0) throw other;
  return fitting;
}

/** Throws `archive` when config and manifest disagree about the layers. */
export function checkLayers({ manifest, config }: PlatformImage, title: string): void {
  const promised = config.rootfs.diff_ids?.length ?? 0;
  if (promised === manifest.layers.length) return;
  throw new KinaError(
    'archive',
    `${title}: the manifest has ${manifest.layers.length} layers, but config ${manifest.config.digest} lists ${promised}`,
    { hint: 'The image is broken. Push or save it again with another tool.' },
  );
}

async function readConfig(image: Image, { config }: ImageManifest): Promise<ImageConfig> {
  return parseConfig(await image.document(config), where(image, config.digest));
}

async function walk(image: Image, wanted: readonly Platform[] | undefined): Promise<Walk> {
  const found = new Walk(image, wanted);
  await found.descend(image.root, 0);
  return found;
}

/** Nested indexes are legal. More levels than this are not an image. */
const maxDepth = 3;

class Walk {
  /** Of images; others are parts only. */
  readonly manifests: { readonly descriptor: Descriptor; readonly manifest: ImageManifest }[] = [];
  /** That indexes name, wanted or not. */
  readonly platforms: DescriptorPlatform[] = [];
  /** What manifests hold that are not images. */
  readonly types: string[] = [];
  readonly #image: Image;
  readonly #wanted: readonly Platform[] | undefined;
  readonly #documents = new Map<Digest, Document>();
  readonly #parts = new Map<Digest, Descriptor & Part>();
  #index: ImageIndex | undefined;

  constructor(image: Image, wanted: readonly Platform[] | undefined) {
    this.#image = image;
    this.#wanted = wanted;
  }

  result(): ImageParts {
    const documents = [...this.#documents.values()];
    const parts = [...this.#parts.values()];
    return {
      descriptor: this.#image.root,
      index: this.#index,
      documents,
      parts,
      blobs: new Map([...documents, ...parts].map(({ digest, size }) => [digest, size])),
    };
  }

  async descend(descriptor: Descriptor, depth: number): Promise<void> {
    const { mediaType: type, digest } = descriptor;
    if (this.#documents.has(digest)) return;
    if (depth > maxDepth) throw new KinaError('archive', `${this.#image.title}: indexes are nested too deep`);
    const isIndex = isIndexType(type);
    if (!isIndex && !isManifestType(type))
      throw new KinaError('archive', `${where(this.#image, digest)} is ${type}, not an image or an index of images`);
    const bytes = await this.#image.document(descriptor);
    if (isIndex) await this.#enterIndex(parseIndex(bytes, where(this.#image, digest)), depth);
    else this.#addManifest(descriptor, parseManifest(bytes, where(this.#image, digest)));
    this.#documents.set(digest, { ...descriptor, bytes });
  }

  async #enterIndex(index: ImageIndex, depth: number): Promise<void> {
    if (depth === 0) this.#index = index;
    const images = index.manifests.filter(({ platform }) => platform && platform.os !== 'unknown');
    this.platforms.push(...images.flatMap(({ platform }) => platform ?? []));
    const best = new Set(this.#wanted?.map((platform) => bestMatch(images, (one) => one.platform, platform)));
    for (const entry of index.manifests) {
      const needed = !this.#wanted || !entry.platform || isIndexType(entry.mediaType) || best.has(entry);
      if (needed) await this.descend(entry, depth + 1);
    }
  }

  #addManifest(descriptor: Descriptor, manifest: ImageManifest): void {
    const other = otherThanImage(descriptor, manifest);
    if (other === undefined) this.manifests.push({ descriptor, manifest });
    else this.types.push(other);
    const of = descriptor.platform ? ` of ${platformName(descriptor.platform)}` : '';
    const { config, layers } = manifest;
    const add = (part: Descriptor, what: string) => {
      if (!isForeign(part) && !this.#parts.has(part.digest)) this.#parts.set(part.digest, { ...part, what });
    };
    add(config, `config${of}`);
    for (const [i, layer] of layers.entries()) add(layer, `layer ${i + 1}${of}`);
  }
}

/**
 * What a manifest is about when it is not a container image: BuildKit stores attestations beside images, as manifests of an
 * unknown platform; charts and other artifacts have different types.
 */
function otherThanImage({ platform, annotations }: Descriptor, { config, layers }: ImageManifest): string | undefined {
  const attested = annotations?.['vnd.docker.reference.type'];
  if (platform?.os === 'unknown' || attested !== undefined) return attested ?? 'an attestation';
  if (config.mediaType !== mediaType.config && config.mediaType !== mediaType.dockerConfig) return config.mediaType;
  return layers.find(
    ({ mediaType: type }) => !/^application\/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\./.test(type),
  )?.mediaType;
}

/** Windows layers that only their publisher may distribute (OCI image specification, "Non-Distributable Layers"). */
function isForeign({ mediaType: type }: Descriptor): boolean {
  return /\.(foreign|nondistributable)\./.test(type);
}

function where({ title }: Image, digest: Digest): string {
  return title === digest ? digest : `${title}: ${digest}`;
}
