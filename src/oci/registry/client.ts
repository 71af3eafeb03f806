/**
 * Reads manifests and indexes of a registry (OCI distribution specification, "Pulling manifests"). The transport handles
 * logins, tokens and redirects to storage.
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
  maxManifestBytes,
  mediaType,
  notAnImage,
} from '../descriptor.ts';
import { digestMismatch } from '../hash.ts';
import { formatReference, type ImageReference, parseReference, repositoryUrl } from '../reference.ts';

interface Document {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly mediaType: string;
}

export const changedHint = 'The registry, a mirror or a proxy changed the document. Try again or use another mirror.';

const manifestTypes = [mediaType.index, mediaType.manifest, mediaType.dockerIndex, mediaType.dockerManifest];

/**
 * Headers for a registry's URL; none for other URLs. Without `Accept`, registries convert manifests, or answer 404 for an
 * OCI manifest (distribution does).
 */
export function registryHeaders(url: string): Record<string, string> {
  return /\/v2\/.+\/manifests\/[^/]+$/.test(url) ? { accept: manifestTypes.join(', ') } : {};
}

/** The index or manifest that a reference names now. */
export interface TopDocument {
  readonly reference: ImageReference;
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** Throws `usage` for a malformed reference, `not-found`, `network`, `integrity`; `archive` for what is not an image. */
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
      throw digestMismatch(redact(url), { digest: promised as Digest }, { digest, size: bytes.length }, changedHint);
  return { bytes, digest, mediaType: typeOf(bytes, headers['content-type'], url) };
}

/**
 * The media type of a document. The field inside wins over the header, because the digest covers it. A document that could
 * be read both ways is refused (CVE-2021-41190).
 */
function typeOf(bytes: Buffer, contentType: string | undefined, url: string): string {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new KinaError('archive', `${redact(url)} is not JSON`, {
      hint: 'The server may not be a registry, or a proxy asks for a login.',
      cause: error,
    });
  }
  if (!value || typeof value !== 'object') throw new KinaError('archive', `${redact(url)} is not a manifest`);
  if ('manifests' in value && ('layers' in value || 'config' in value))
    throw new KinaError('archive', `${redact(url)} is an index and a manifest at once`);
  if ('mediaType' in value && typeof value.mediaType === 'string') return value.mediaType;
  if ('manifests' in value) return mediaType.index; // the field is optional in OCI documents
  if ('layers' in value) return mediaType.manifest;
  return contentType?.split(';')[0]?.trim() ?? '';
}
