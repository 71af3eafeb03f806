/**
 * Other people's images: an OCI layout folder, an OCI archive or what `docker save` writes (plain or compressed tar)
 * becomes blobs in the store and one uniform description per name and platform.
 *
 * An archive is read once, front to back: every member that can matter goes into the store as it passes, and what it
 * is becomes clear when the index or `manifest.json` turns up, which may be first or last. Names in an archive are only
 * keys of a map and never paths on this machine, so there is nothing to escape to; what is limited is their number,
 * the size of documents, and the sum of the bytes.
 *
 * Configs are never rewritten: their digest is the image's id for the container runtime, and has to be the one that
 * upstream published.
 */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { canonicalJson } from '../../host/json.ts';
import {
  type Descriptor,
  type DescriptorPlatform,
  type Digest,
  hexOf,
  isIndexType,
  isManifestType,
  maxConfigBytes,
  maxManifestBytes,
  mediaType,
  parseConfig,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';
import type { Store, Written } from '../store/store.ts';
import { type ArchiveFiles, readArchive, readLayout } from './import-source.ts';

/** One platform's image out of an archive or layout; all its blobs are in the store. */
export interface ImportedImage {
  /** As the source gives them: full references, or a bare tag where it has no more; empty when nameless. */
  readonly names: readonly string[];
  readonly platform: DescriptorPlatform;
  /** The source's own manifest, or for a docker-archive one made from its config and layers. */
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Of the uncompressed layers, in the same order. */
  readonly diffIds: readonly Digest[];
}

/** Nested indexes are legal; more than this is a joke on the reader. */
const maxDepth = 3;

/**
 * Imports every image of `path`, a layout folder or an archive. Throws `not-found` when there is no such path,
 * `archive` when it is neither format or incomplete, `integrity` when a blob is not what its name says.
 */
export async function importArchive(store: Store, path: string): Promise<ImportedImage[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new KinaError('not-found', `${path} does not exist`, {
      hint: 'Name an OCI layout folder or an image archive.',
    });
  const files = found.isDirectory() ? await readLayout(store, path) : await readArchive(store, path);
  return readImages(inStore(store), path, files);
}

/** Where the blobs of a source can be read, once `ArchiveFiles` has told their digests. */
export interface Blobs {
  /** Throws when the bytes are not the digest's, or more than `limit`. */
  readBytes(digest: Digest, limit: number): Promise<Buffer>;
  has(digest: Digest, size: number): Promise<boolean>;
  writeBytes(data: string): Promise<Written>;
  /** Size in bytes, and the first four of them. */
  head(digest: Digest): Promise<{ size: number; magic: Buffer }>;
}

export function inStore(store: Store): Blobs {
  return {
    readBytes: (digest, limit) => store.readBytes(digest, limit),
    has: (digest, size) => store.has(digest, size),
    writeBytes: (data) => store.writeBytes(data),
    head: (digest) => headOf(store.blobPath(digest)),
  };
}

/** The images of a source; `path` is what errors call it. Throws as `importArchive` does. */
export async function readImages(blobs: Blobs, path: string, files: ArchiveFiles): Promise<ImportedImage[]> {
  const images = await new Source(blobs, path, files).images();
  if (!images.length) throw new KinaError('archive', `${path} holds no image`);
  return images;
}

const dockerManifest = z
  .array(z.looseObject({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }))
  .max(1_000);

class Source {
  readonly #blobs: Blobs;
  readonly #path: string;
  readonly #files: ArchiveFiles;

  constructor(blobs: Blobs, path: string, files: ArchiveFiles) {
    this.#blobs = blobs;
    this.#path = path;
    this.#files = files;
  }

  async images(): Promise<ImportedImage[]> {
    const index = await this.#document('index.json');
    if (index && (await this.#document('oci-layout'))) return this.#ociImages(index);
    if (await this.#document('manifest.json')) return this.#dockerImages();
    throw new KinaError('archive', `${this.#path} is neither an OCI image nor a docker-archive`, {
      hint: 'It needs oci-layout with index.json, or manifest.json: what `skopeo copy` and `docker save` write.',
    });
  }

  async #ociImages(indexBytes: Buffer): Promise<ImportedImage[]> {
    const byManifest = new Map<Digest, ImportedImage>();
    for (const entry of parseIndex(indexBytes, `${this.#path}: index.json`).manifests) {
      for (const image of await this.#descend(entry, 0)) {
        const known = byManifest.get(image.manifest.digest);
        const names = [...new Set([...(known?.names ?? []), ...namesOf(entry)])];
        byManifest.set(image.manifest.digest, { ...image, names });
      }
    }
    const images = [...byManifest.values()];
    if (images.every((image) => image.names.length)) return images;
    // Archives made for Docker keep their names in manifest.json; the config tells which is which.
    const tags = await this.#dockerEntries();
    return images.map((image) =>
      image.names.length
        ? image
        : { ...image, names: tags.find(({ config }) => config === image.config.digest)?.names ?? [] },
    );
  }

  async #descend(entry: Descriptor, depth: number): Promise<ImportedImage[]> {
    if (isManifestType(entry.mediaType)) {
      const image = isAttestation(entry) ? undefined : await this.#ociImage(entry);
      return image ? [image] : [];
    }
    if (!isIndexType(entry.mediaType)) return []; // artifacts of other kinds may lie beside images
    if (depth >= maxDepth) throw new KinaError('archive', `${this.#path}: indexes are nested too deep`);
    const bytes = await this.#blob(entry, maxManifestBytes, 'index');
    const images: ImportedImage[] = [];
    for (const inner of parseIndex(bytes, `${this.#path}: ${entry.digest}`).manifests) {
      // An index may tell of platforms that were not exported; the whole image of those is absent, not a part of it.
      if (isManifestType(inner.mediaType) && !(await this.#files.digestOf(blobName(inner.digest)))) continue;
      images.push(...(await this.#descend(inner, depth + 1)));
    }
    if (!images.length)
      throw new KinaError('archive', `${this.#path}: none of the platforms in ${entry.digest} is in the archive`);
    return images;
  }

  async #ociImage(entry: Descriptor): Promise<ImportedImage | undefined> {
    const manifest = parseManifest(
      await this.#blob(entry, maxManifestBytes, 'manifest'),
      `${this.#path}: ${entry.digest}`,
    );
    const { config, layers } = manifest;
    if (config.mediaType !== mediaType.config && config.mediaType !== mediaType.dockerConfig) return undefined;
    const parsed = parseConfig(await this.#blob(config, maxConfigBytes, 'config'), `${this.#path}: ${config.digest}`);
    for (const layer of layers) await this.#require(layer, 'layer');
    const diffIds = parsed.rootfs.diff_ids ?? [];
    this.#checkCount(config.digest, diffIds, layers);
    const { mediaType: type, digest, size } = entry;
    const platform = platformOf(parsed);
    return {
      names: [],
      platform,
      manifest: { mediaType: type, digest, size, platform },
      config: bare(config),
      layers: layers.map(bare),
      diffIds,
    };
  }

  async #dockerImages(): Promise<ImportedImage[]> {
    const images: ImportedImage[] = [];
    for (const entry of await this.#dockerEntries()) {
      const where = `${this.#path}: ${entry.configName}`;
      const configBytes = await this.#blobs.readBytes(entry.config, maxConfigBytes);
      const parsed = parseConfig(configBytes, where);
      const diffIds = parsed.rootfs.diff_ids ?? [];
      const layers: Descriptor[] = [];
      for (const [i, name] of entry.layers.entries()) layers.push(await this.#dockerLayer(name, diffIds[i]));
      this.#checkCount(entry.config, diffIds, layers);
      for (const [i, layer] of layers.entries())
        if (layer.mediaType === mediaType.layer && layer.digest !== diffIds[i])
          throw new KinaError('integrity', `${this.#path}: layer ${entry.layers[i]} is not what the config says`, {
            details: [`expected ${diffIds[i]}`, `found    ${layer.digest}`],
          });
      const config = { mediaType: mediaType.config, digest: entry.config, size: configBytes.length };
      const manifest = await this.#blobs.writeBytes(
        canonicalJson({ schemaVersion: 2, mediaType: mediaType.manifest, config, layers }),
      );
      const platform = platformOf(parsed);
      images.push({
        names: entry.names,
        platform,
        manifest: { mediaType: mediaType.manifest, ...manifest, platform },
        config,
        layers,
        diffIds,
      });
    }
    return images;
  }

  /** What `manifest.json` says, configs resolved to digests; nothing when there is none. */
  async #dockerEntries(): Promise<{ config: Digest; configName: string; names: string[]; layers: string[] }[]> {
    const bytes = await this.#document('manifest.json');
    if (!bytes) return [];
    const parsed = dockerManifest.safeParse(parseJson(bytes));
    if (!parsed.success) throw new KinaError('archive', `${this.#path}: manifest.json is not Docker's`);
    const entries = [];
    for (const { Config, RepoTags, Layers } of parsed.data)
      entries.push({
        config: await this.#member(Config),
        configName: Config,
        names: RepoTags ?? [],
        layers: Layers,
      });
    return entries;
  }

  async #dockerLayer(name: string, diffId: Digest | undefined): Promise<Descriptor> {
    const digest = await this.#member(name, diffId);
    const { size, magic } = await this.#blobs.head(digest);
    return { mediaType: layerType(magic), digest, size };
  }

  async #document(name: string): Promise<Buffer | undefined> {
    const digest = await this.#files.digestOf(name);
    return digest && this.#blobs.readBytes(digest, maxManifestBytes);
  }

  async #member(name: string, claimed?: Digest): Promise<Digest> {
    const digest = await this.#files.digestOf(name, claimed);
    if (digest) return digest;
    throw new KinaError('archive', `${this.#path}: manifest.json mentions ${name}, which is not in the archive`, {
      hint: 'The archive is incomplete. Save or download it again.',
    });
  }

  async #blob(descriptor: Descriptor, limit: number, what: string): Promise<Buffer> {
    if (descriptor.size > limit)
      throw new KinaError(
        'archive',
        `${this.#path}: ${what} of ${descriptor.size} bytes, more than the ${limit} allowed`,
      );
    await this.#require(descriptor, what);
    return this.#blobs.readBytes(descriptor.digest, limit);
  }

  async #require({ digest, size }: Descriptor, what: string): Promise<void> {
    if (!(await this.#files.digestOf(blobName(digest))))
      throw new KinaError('archive', `${this.#path}: the ${what} ${digest} is not in the archive`, {
        hint: 'The archive is incomplete: it was cut short, or exported without its blobs. Save or download it again.',
      });
    if (!(await this.#blobs.has(digest, size)))
      throw new KinaError('integrity', `${this.#path}: the ${what} ${digest} does not have the ${size} bytes promised`);
  }

  #checkCount(config: Digest, diffIds: readonly Digest[], layers: readonly Descriptor[]): void {
    if (diffIds.length === layers.length) return;
    throw new KinaError(
      'archive',
      `${this.#path}: ${layers.length} layers, but config ${config} lists ${diffIds.length}`,
    );
  }
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** BuildKit puts provenance beside images as manifests of an unknown platform. */
function isAttestation({ platform, annotations }: Descriptor): boolean {
  return platform?.os === 'unknown' || annotations?.['vnd.docker.reference.type'] !== undefined;
}

function namesOf({ annotations }: Descriptor): string[] {
  const name =
    annotations?.['com.apple.containerization.image.name'] ??
    annotations?.['io.containerd.image.name'] ??
    annotations?.['org.opencontainers.image.ref.name'];
  return name ? [name] : [];
}

function platformOf({ os, architecture, variant }: DescriptorPlatform): DescriptorPlatform {
  return variant ? { os, architecture, variant } : { os, architecture };
}

function bare({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

/** `docker save` writes plain tar, other tools compress; manifest.json does not say which. */
export function layerType(magic: Buffer): string {
  if (magic[0] === 0x1f && magic[1] === 0x8b) return mediaType.layerGzip;
  return magic.readUInt32BE() === 0x28b52ffd ? mediaType.layerZstd : mediaType.layer;
}

async function headOf(path: string): Promise<{ size: number; magic: Buffer }> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const magic = Buffer.alloc(4);
    await handle.read(magic, 0, 4, 0);
    return { size: (await handle.stat()).size, magic };
  } finally {
    await handle?.close();
  }
}
