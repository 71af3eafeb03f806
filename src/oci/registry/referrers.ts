/**
 * Documents about an image, beside it in the registry: manifests whose `subject` is the image (OCI distribution
 * specification 1.1, "Pushing Manifests with Subject"). A registry that lists them by itself says so with `OCI-Subject`;
 * for any other, kina keeps the list under the tag that clients then look at ("Referrers Tag Schema").
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
  /** Of the image or index that it is about; in the repository already. */
  readonly subject: Descriptor;
  /** `application/spdx+json` and the like: what the document is. */
  readonly type: string;
  readonly document: Uint8Array;
  /** A file's name, for those who download it. */
  readonly title: string;
  /** Of the manifest, and of its entry in lists. */
  readonly annotations?: Annotations | undefined;
}

/** The empty JSON object that stands where there is no config (OCI image specification, "Guidance for an Empty Descriptor"). */
const empty = Buffer.from('{}');
const emptyType = 'application/vnd.oci.empty.v1+json';

/** Pushes the document; the descriptor of its manifest. Does nothing when it is there. */
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

/** How registries without that list answer, by age and taste. */
const noSuchList: ReadonlySet<number> = new Set([400, 404, 405, 501]);
/** Nobody attaches more; a list without an end is none. */
const maxPages = 100;

/**
 * What the registry lists beside `subject`: by its own list ("Listing Referrers"), else under the fallback tag. Entries are
 * claims; what they lead to is checked by its digest when it is read.
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
    // Relative to the repository: a registry that names another host does not get to send us there.
    const { pathname, search } = new URL(next, url);
    url = new URL(`${pathname}${search}`, url).href;
  }
  if (found.length > 0) return found;
  const tag = `sha256-${hexOf(subject)}`;
  return listed(formatReference({ ...from, tag, digest: undefined }), transport, signal);
}

/** A referrer's manifest, checked: by its digest, and that it is about the subject. */
export interface Referrer {
  /** As lists name it, from the manifest itself: some tools list another type than the one that it has. */
  readonly entry: ReferrerEntry;
  readonly documents: readonly Descriptor[];
}
export interface ReferrerEntry extends Descriptor {
  readonly artifactType: string;
}

/** Throws `integrity` when it is about something else, or not its digest's; `not-found` for one that is only listed. */
export async function readReferrer(
  from: ImageReference,
  { digest }: Pick<Descriptor, 'digest'>,
  subject: Digest,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Referrer> {
  return parseReferrer(await readManifest(from, digest, transport, signal), digest, subject);
}

/** `bytes` are the digest's. Throws `integrity` when they are about something else than `subject`. */
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

/** What a manifest says it is about; undefined for an image, and for what is no manifest. */
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

/** Lists what the repository has beside `subject`, where the registry does not do so by itself. */
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

/** Adds entries to the list under the fallback tag. Somebody else may do the same just now: look again afterwards. */
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
  throw new KinaError('network', `the list ${where} is changed by others again and again`, { hint: 'Push again.' });
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
