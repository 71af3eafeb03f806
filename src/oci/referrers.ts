/**
 * Documents about an image, beside it in the registry: manifests whose `subject` is the image (OCI distribution
 * specification 1.1, "Pushing Manifests with Subject"). A registry that lists them by itself says so with `OCI-Subject`;
 * for any other, kina keeps the list under the tag that clients then look at ("Referrers Tag Schema").
 */
import { KinaError } from '../host/errors.ts';
import type { ReadResponse, Transport } from '../host/http.ts';
import { redact } from '../host/http-route.ts';
import { canonicalJson, sha256 } from '../host/json.ts';
import {
  type Descriptor,
  type Digest,
  hexOf,
  type ImageIndex,
  maxManifestBytes,
  mediaType,
  parseIndex,
  parseManifest,
} from './descriptor.ts';
import { readManifest, resolveReference } from './registry.ts';
import { formatReference, type ImageReference, repositoryUrl } from './registry-reference.ts';
import { Repository } from './registry-upload.ts';

export interface Attachment {
  /** Of the image or index that it is about; in the repository already. */
  readonly subject: Descriptor;
  /** `application/spdx+json` and the like: what the document is. */
  readonly type: string;
  readonly document: Uint8Array;
  /** A file's name, for those who download it. */
  readonly title: string;
}

/** The empty JSON object that stands where there is no config (OCI image specification, "Guidance for an Empty Descriptor"). */
const empty = Buffer.from('{}');
const emptyType = 'application/vnd.oci.empty.v1+json';

/** Pushes the document; the descriptor of its manifest. Does nothing when it is there. */
export async function attach(
  to: ImageReference,
  { subject, type, document, title }: Attachment,
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
        ...{ digest, size },
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
    }),
  );
  const digest = sha256(manifest);
  const answer = await repository.putManifest(digest, manifest, digest, mediaType.manifest);
  const descriptor = { mediaType: mediaType.manifest, digest, size: manifest.length };
  if (answer.headers['oci-subject'] !== subjectDigest)
    await list(to, repository, subject, { ...descriptor, artifactType: type }, transport, signal);
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

/** A referrer's only document, at most `limit` bytes. Throws `integrity` when it is about something else, or not its digest's. */
export async function readAttachment(
  from: ImageReference,
  { digest }: Pick<Descriptor, 'digest'>,
  subject: Digest,
  limit: number,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Buffer> {
  const manifest = parseManifest(await readManifest(from, digest, transport, signal), digest);
  const [layer] = manifest.layers;
  const about = (manifest.subject as { digest?: unknown } | undefined)?.digest;
  if (!layer || about !== subject)
    throw new KinaError('integrity', `${digest} is listed beside ${subject} and is not about it`, {
      details: [`its subject is ${String(about ?? 'nothing')}`],
    });
  const bytes = await transport.bytes(`${repositoryUrl(from)}/blobs/${layer.digest}`, { limit, signal });
  if (sha256(bytes) !== layer.digest)
    throw new KinaError('integrity', `the document of ${digest} is not what its digest says`, {
      details: [`expected ${layer.digest}`, `received ${sha256(bytes)}`],
    });
  return bytes;
}

/** Adds an entry to the list under the fallback tag. Somebody else may do the same just now: look again afterwards. */
async function list(
  to: ImageReference,
  repository: Repository,
  subject: Descriptor,
  entry: Descriptor & { artifactType: string },
  transport: Transport,
  signal: AbortSignal | undefined,
): Promise<void> {
  const tag = `sha256-${hexOf(subject.digest)}`;
  const where = formatReference({ ...to, tag, digest: undefined });
  for (let attempt = 0; attempt < 5; attempt++) {
    const manifests = await listed(where, transport, signal);
    if (manifests.some(({ digest }) => digest === entry.digest)) return;
    const index = { schemaVersion: 2, mediaType: mediaType.index, manifests: [...manifests, entry] };
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
