/**
 * Documents about an image, beside it in the registry: manifests with the image as their `subject` (OCI distribution
 * specification 1.1, "Pushing Manifests with Subject"). A registry that lists them answers with `OCI-Subject`; for any other,
 * kina keeps the list under the tag that clients read ("Referrers Tag Schema").
 */
import { KinaError } from '../../host/errors.ts';
import type { ReadResponse, Transport } from '../../host/http.ts';
import { redact } from '../../host/http-route.ts';
import { canonicalJson, sha256 } from '../../host/json.ts';
import {
  type Annotations,
  type Descriptor,
  type Digest,
  hexOf,
  type ImageIndex,
  isDigest,
  maxManifestBytes,
  mediaType,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';
import { formatReference, type ImageReference, repositoryUrl } from '../reference.ts';
import { readManifest, resolveReference } from './client.ts';
import { Repository } from './upload.ts';

export interface Attachment {
  /** The image or index that it is about; it is in the repository. */
  readonly subject: Descriptor;
  /** The type of the document, e.g. `application/spdx+json`. */
  readonly type: string;
  readonly document: Uint8Array;
  /** The file name for downloads. */
  readonly title: string;
  /** Annotations of the manifest and of its entry in lists. */
  readonly annotations?: Annotations | undefined;
}

/** The empty JSON object in place of a config (OCI image specification, "Guidance for an Empty Descriptor"). */
const empty = Buffer.from('{}');
const emptyType = 'application/vnd.oci.empty.v1+json';

/** Pushes the document unless the registry has it. Returns the descriptor of its manifest. */
export async function attach(
  to: ImageReference,
  { subject, type, document, title, annotations }: Attachment,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const repository = new Repository(to, transport, signal);
  const blobs = [
    { mediaType: emptyType, bytes: empty },
    { mediaType: type, bytes: document, annotations: { 'org.opencontainers.image.title': title } },
  ].map(({ bytes, ...rest }) => ({ ...rest, digest: sha256(bytes), size: bytes.length, bytes }));
  for (const { digest, size, bytes } of blobs)
    if (!(await repository.hasBlob(digest)))
      await repository.pushBlob({
        digest,
        size,
        async *open() {
          yield bytes;
        },
      });
  const [config, layer] = blobs.map(({ bytes: _, ...descriptor }) => descriptor);
  const { mediaType: subjectType, digest: subjectDigest, size: subjectSize } = subject;
  const manifest = Buffer.from(
    canonicalJson({
      schemaVersion: 2,
      mediaType: mediaType.manifest,
      artifactType: type,
      config,
      layers: [layer],
      subject: { mediaType: subjectType, digest: subjectDigest, size: subjectSize },
      ...(annotations ? { annotations } : {}),
    }),
  );
  const digest = sha256(manifest);
  const answer = await repository.putManifest(digest, manifest, digest, mediaType.manifest);
  const descriptor = { mediaType: mediaType.manifest, digest, size: manifest.length };
  if (answer.headers['oci-subject'] !== subjectDigest)
    await list(to, repository, subjectDigest, [{ ...descriptor, artifactType: type, annotations }], transport, signal);
  return descriptor;
}

/** Answers of registries without referrers lists. */
const noSuchList: ReadonlySet<number> = new Set([400, 404, 405, 501]);
/** A list with more pages does not end. */
const maxPages = 100;

/**
 * The manifests that the registry lists for `subject`: in its own list ("Listing Referrers"), else under the fallback tag.
 * Entries are claims; a manifest is checked when it is read.
 */
export async function referrersOf(
  from: ImageReference,
  subject: Digest,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Descriptor[]> {
  const found: Descriptor[] = [];
  let url: string | undefined = `${repositoryUrl(from)}/referrers/${subject}`;
  for (let page = 0; url !== undefined && page < maxPages; page++) {
    const accept = [...noSuchList];
    const headers = { accept: mediaType.index };
    const answer: ReadResponse = await transport.read(url, { limit: maxManifestBytes, signal, headers, accept });
    if (noSuchList.has(answer.status)) break;
    found.push(...parseIndex(answer.bytes, redact(url)).manifests);
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(String(answer.headers.link ?? ''))?.[1];
    if (next === undefined) return found;
    // Relative to the repository: a registry cannot redirect to a different host here.
    const { pathname, search } = new URL(next, url);
    url = new URL(`${pathname}${search}`, url).href;
  }
  if (found.length > 0) return found;
  const tag = `sha256-${hexOf(subject)}`;
  return listed(formatReference({ ...from, tag, digest: undefined }), transport, signal);
}

/** A referrer's manifest, checked: its digest and its subject. */
export interface Referrer {
  /** The entry for lists, made from the manifest itself: some tools list a wrong type. */
  readonly entry: ReferrerEntry;
  readonly documents: readonly Descriptor[];
}
export interface ReferrerEntry extends Descriptor {
  readonly artifactType: string;
}

/** Throws `integrity` when its digest or its subject differs; `not-found` when it is listed but missing. */
export async function readReferrer(
  from: ImageReference,
  { digest }: Pick<Descriptor, 'digest'>,
  subject: Digest,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Referrer> {
  return parseReferrer(await readManifest(from, digest, transport, signal), digest, subject);
}

/** `bytes` match the digest. Throws `integrity` when their subject is not `subject`. */
export function parseReferrer(bytes: Uint8Array, digest: Digest, subject: Digest): Referrer {
  const { config, layers, annotations, ...rest } = parseManifest(bytes, digest);
  const about = subjectOf(bytes);
  if (about !== subject)
    throw new KinaError('integrity', `${digest} is listed beside ${subject} and is not about it`, {
      details: [`its subject is ${about ?? 'nothing'}`],
    });
  // Before 1.1 of the specification the type of an artifact was that of its config.
  const artifactType = typeof rest.artifactType === 'string' ? rest.artifactType : config.mediaType;
  const entry = { mediaType: mediaType.manifest, digest, size: bytes.length, artifactType, annotations };
  return { entry, documents: layers };
}

/** The subject of a manifest; undefined when it has none, and for anything that is not a manifest. */
export function subjectOf(bytes: Uint8Array): Digest | undefined {
  try {
    const { subject } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { subject?: { digest?: unknown } | null };
    const digest = subject?.digest;
    return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
  } catch {
    return undefined;
  }
}

/** One document of a referrer, at most `limit` bytes. Throws `integrity` for what is not its digest's. */
export async function readDocument(
  from: ImageReference,
  { digest }: Pick<Descriptor, 'digest'>,
  limit: number,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Buffer> {
  const bytes = await transport.bytes(`${repositoryUrl(from)}/blobs/${digest}`, { limit, signal });
  if (sha256(bytes) !== digest)
    throw new KinaError('integrity', `${digest} is not what its digest says`, {
      details: [`expected ${digest}`, `received ${sha256(bytes)}`],
    });
  return bytes;
}

/** Adds entries to the list for `subject`, where the registry does not keep that list itself. */
export async function listReferrers(
  to: ImageReference,
  subject: Digest,
  entries: readonly ReferrerEntry[],
  transport: Transport,
  signal?: AbortSignal,
): Promise<void> {
  const known = new Set((await referrersOf(to, subject, transport, signal)).map(({ digest }) => digest));
  if (entries.some(({ digest }) => !known.has(digest)))
    await list(to, new Repository(to, transport, signal), subject, entries, transport, signal);
}

/** Adds entries to the list under the fallback tag. Another client may do the same at this moment, so it checks again. */
async function list(
  to: ImageReference,
  repository: Repository,
  subject: Digest,
  entries: readonly ReferrerEntry[],
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<void> {
  const tag = `sha256-${hexOf(subject)}`;
  const where = formatReference({ ...to, tag, digest: undefined });
  for (let attempt = 0; attempt < 5; attempt++) {
    const manifests = await listed(where, transport, signal);
    const missing = entries.filter((entry) => !manifests.some(({ digest }) => digest === entry.digest));
    if (missing.length === 0) return;
    const index = { schemaVersion: 2, mediaType: mediaType.index, manifests: [...manifests, ...missing] };
    const bytes = Buffer.from(canonicalJson(index));
    await repository.putManifest(tag, bytes, sha256(bytes), mediaType.index);
  }
  throw new KinaError('network', `other clients keep changing the list ${where}`, { hint: 'Push again.' });
}

async function listed(
  where: string,
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<ImageIndex['manifests']> {
  try {
    return parseIndex((await resolveReference(where, transport, signal)).bytes, where).manifests;
  } catch (error) {
    if (error instanceof KinaError && error.code === 'not-found') return [];
    throw error;
  }
}
