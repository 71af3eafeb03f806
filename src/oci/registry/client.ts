/**
 * Registries, read (OCI distribution specification, "Pull"; Docker's schema 2 besides): from a name and a platform to
 * everything that makes the image, each part with URL, size and digest, so that fetching, resuming, mirrors and locks are
 * those of any other artifact. Logins, tokens and redirects to storage are the transport's. `registry-upload.ts` writes.
 *
 * The chain of trust is in the bytes: a digest in the reference, or else what the registry answers for the tag now,
 * names the index, that names the manifest, that names config and layers; each document is hashed before it is parsed.
 */
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { redact } from '../../host/http-route.ts';
import { sha256 } from '../../host/json.ts';
import {
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  maxConfigBytes,
  maxManifestBytes,
  mediaType,
  parseConfig,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';
import { formatPlatform, type Platform } from '../platform.ts';
import { formatReference, type ImageReference, parseReference, repositoryUrl } from '../reference.ts';

/** One piece of a remote image: an artifact, and what it is. */
interface RemoteBlob {
  readonly name: string;
  /** Canonical; fetched by digest, so it means the same bytes for ever. */
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  readonly verifiedBy: string;
}
/** One platform of an image in a registry. */
export interface RemoteImage {
  /** In full: `docker.io/library/busybox:1.35`. */
  readonly reference: string;
  /** Digest that the tag stands for now: of the index where there is one, else of the manifest. */
  readonly digest: Digest;
  readonly manifest: RemoteBlob;
  readonly config: RemoteBlob;
  /** Lowest first. */
  readonly layers: readonly RemoteBlob[];
}
interface Document {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly mediaType: string;
}

const manifestTypes = [mediaType.index, mediaType.manifest, mediaType.dockerIndex, mediaType.dockerManifest];

/**
 * Headers that a URL of a registry needs: without `Accept`, registries convert manifests or deny that they exist
 * (distribution answers 404 for an OCI manifest that was not asked for as such). Nothing for other URLs.
 */
export function registryHeaders(url: string): Record<string, string> {
  return /\/v2\/.+\/manifests\/[^/]+$/.test(url) ? { accept: manifestTypes.join(', ') } : {};
}

/** What a reference stands for now: an index or a manifest. */
export interface TopDocument {
  readonly reference: ImageReference;
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** Throws `usage` for a malformed reference, `not-found`, `network`, `integrity`; `archive` for what is no image. */
export async function resolveReference(
  ref: string,
  transport: Transport,
  signal?: AbortSignal | undefined,
): Promise<TopDocument> {
  const reference = parseReference(ref);
  const url = `${repositoryUrl(reference)}/manifests/${reference.digest ?? reference.tag ?? 'latest'}`;
  const { bytes, digest, mediaType: type } = await getDocument(url, reference.digest, transport, signal);
  if (!isIndexType(type) && !isManifestType(type)) throw notAnImage(formatReference(reference), type);
  return { reference, descriptor: { mediaType: type, digest, size: bytes.length }, bytes };
}

/** One inner document of an image, verified. */
export async function readManifest(
  reference: ImageReference,
  digest: Digest,
  transport: Transport,
  signal?: AbortSignal | undefined,
): Promise<Buffer> {
  return (await getDocument(`${repositoryUrl(reference)}/manifests/${digest}`, digest, transport, signal)).bytes;
}

/**
 * Finds the image for a platform. Throws `usage` for a malformed reference, `not-found` when the registry does not have
 * it, `platform` when it has it for other platforms only, `integrity` when documents are not what their digests say,
 * `archive` when they are malformed or of a kind that is no container image.
 */
export async function resolveImage(
  ref: string,
  platform: Platform,
  transport: Transport,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<RemoteImage> {
  const parsed = parseReference(ref);
  const reference = formatReference(parsed);
  const base = repositoryUrl(parsed);
  const get = (name: string, expected?: Digest) =>
    getDocument(`${base}/manifests/${name}`, expected, transport, options.signal);

  const top = await get(parsed.digest ?? parsed.tag ?? 'latest', parsed.digest);
  let found = top;
  if (isIndexType(top.mediaType)) {
    const chosen = choosePlatform(parseIndex(top.bytes, reference).manifests, platform, reference);
    found = await get(chosen.digest, chosen.digest);
  }
  if (!isManifestType(found.mediaType)) throw notAnImage(reference, found.mediaType);
  const { config, layers } = parseManifest(found.bytes, reference);
  const unreadable = layers.find((layer) => !layerTypes.has(layer.mediaType));
  if (unreadable) throw notAnImage(reference, unreadable.mediaType);

  const short = `${parsed.repository.slice(parsed.repository.lastIndexOf('/') + 1)}${parsed.tag ? `:${parsed.tag}` : ''}`;
  const blob = (what: string, { digest, size }: Descriptor): RemoteBlob => ({
    name: `${short} ${what}`,
    url: `${base}/blobs/${digest}`,
    size,
    digest,
    verifiedBy: 'registry manifest',
  });
  const image: RemoteImage = {
    reference,
    digest: top.digest,
    manifest: {
      name: `${short} manifest`,
      url: `${base}/manifests/${found.digest}`,
      size: found.bytes.length,
      digest: found.digest,
      verifiedBy: parsed.digest ? 'the digest in the reference' : found === top ? 'registry' : 'registry index',
    },
    config: blob('config', config),
    layers: layers.map((layer, i) => blob(`layer ${i + 1}/${layers.length}`, layer)),
  };
  await checkPlatform(image, platform, transport, options.signal);
  return image;
}

async function getDocument(
  url: string,
  expected: Digest | undefined,
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<Document> {
  const { bytes, headers } = await transport.read(url, {
    headers: registryHeaders(url),
    limit: maxManifestBytes,
    signal,
  });
  const digest = sha256(bytes);
  const said = headers['docker-content-digest'];
  for (const promised of [expected, said?.startsWith('sha256:') ? said : undefined])
    if (promised !== undefined && promised !== digest)
      throw new KinaError('integrity', `${redact(url)} is not what was promised`, {
        details: [`expected ${promised}`, `received ${digest}, ${bytes.length} bytes`],
        hint: 'The registry, a mirror or a proxy changed the document. Try again or use another mirror.',
      });
  return { bytes, digest, mediaType: typeOf(bytes, headers['content-type'], url) };
}

/**
 * What kind of document it is. The field inside is what the digest covers, so it wins over the header; a document that
 * could be read both ways is refused (CVE-2021-41190).
 */
function typeOf(bytes: Buffer, contentType: string | undefined, url: string): string {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new KinaError('archive', `${redact(url)} is not JSON`, {
      hint: 'Perhaps no registry answers there, or a proxy asks for a login.',
      cause: error,
    });
  }
  if (!value || typeof value !== 'object') throw new KinaError('archive', `${redact(url)} is no manifest`);
  if ('manifests' in value && ('layers' in value || 'config' in value))
    throw new KinaError('archive', `${redact(url)} is an index and a manifest at once`);
  if ('mediaType' in value && typeof value.mediaType === 'string') return value.mediaType;
  if ('manifests' in value) return mediaType.index; // the field is optional in OCI documents
  if ('layers' in value) return mediaType.manifest;
  return contentType?.split(';')[0]?.trim() ?? '';
}

const layerTypes: ReadonlySet<string> = new Set([
  mediaType.layer,
  mediaType.layerGzip,
  mediaType.layerZstd,
  mediaType.dockerLayer,
  mediaType.dockerLayerGzip,
]);

function notAnImage(reference: string, type: string): KinaError {
  const old = type.includes('manifest.v1');
  return new KinaError('archive', `${reference} is no image that a node can run: ${type || 'unknown media type'}`, {
    hint: old
      ? 'Its manifest has the old schema 1. Push it again with a current tool.'
      : 'It may be a chart, a signature or an image for another system. Check the name.',
  });
}

/**
 * The entry of an index for a platform; throws `platform`. An entry without a platform, or of an unknown one, is no image
 * (attestations are stored that way).
 */
export function choosePlatform(manifests: readonly Descriptor[], platform: Platform, reference: string): Descriptor {
  const images = manifests.filter((m) => m.platform && m.platform.os !== 'unknown');
  const fits = images.find(
    ({ platform: p }) =>
      p?.os === platform.os &&
      p.architecture === platform.architecture &&
      (p.variant === undefined || p.variant === '' || p.variant === 'v8'),
  );
  if (fits) return fits;
  const known = images.map(({ platform: p }) => [p?.os, p?.architecture, p?.variant].filter(Boolean).join('/'));
  throw otherPlatform(reference, platform, known);
}

/** A single manifest says nothing about its platform and an index may be wrong: the config knows. */
async function checkPlatform(
  { config, reference }: RemoteImage,
  platform: Platform,
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<void> {
  const bytes = await transport.bytes(config.url, { limit: maxConfigBytes, signal });
  if (sha256(bytes) !== config.digest)
    throw new KinaError('integrity', `${redact(config.url)} is not what was promised`, {
      details: [`expected ${config.digest}`, `received ${sha256(bytes)}, ${bytes.length} bytes`],
      hint: 'The registry, a mirror or a proxy changed the file. Try again or use another mirror.',
    });
  const { os, architecture } = parseConfig(bytes, `config of ${reference}`);
  if (os !== platform.os || architecture !== platform.architecture)
    throw otherPlatform(reference, platform, [`${os}/${architecture}`]);
}

function otherPlatform(reference: string, platform: Platform, known: readonly string[]): KinaError {
  return new KinaError('platform', `${reference} is not available for ${formatPlatform(platform)}`, {
    details: [known.length ? `it is for ${[...new Set(known)].join(', ')}` : 'its index names no platform'],
    hint: 'Choose another tag or image, or leave the platform out.',
  });
}
