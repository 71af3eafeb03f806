/**
 * Resolves a URL to an artifact: its size, its digest, and the source of the digest.
 *
 * The file itself is requested first, because a 404 for it is a valid answer (for optional components), while any problem
 * with its checksum is a failure. Normally two small requests are enough. Three cases need the bytes, which then go
 * into the store: there is no published digest and the recipe accepts that (`unverified`), upstream publishes only
 * SHA-512, or the server does not report the size. Results are recorded by URL and checksum: they are used without a
 * network, and an unverified file is not downloaded again while its ETag does not change.
 */
import { createHash } from 'node:crypto';
import { KinaError } from '../host/errors.ts';
import type { Head, Transport } from '../host/http.ts';
import { isTransient } from '../host/http-errors.ts';
import { redact } from '../host/http-route.ts';
import { digestOf } from '../host/json.ts';
import type { Reporter } from '../host/progress.ts';
import type { Digest } from '../oci/descriptor.ts';
import type { Store } from '../oci/store/store.ts';
import type { Artifact, ArtifactType } from './artifact.ts';
import { type Checksum, findChecksum, parseIntegrity } from './checksum-file.ts';

export interface ArtifactRequest {
  readonly type: ArtifactType;
  /** Short name for messages. */
  readonly name: string;
  readonly version?: string | undefined;
  /** Canonical. */
  readonly url: string;
  /**
   * The URL of upstream's checksum file, the digest itself (64 hex digits), or a statement of a different document: an
   * integrity string (`sha512-BASE64`) and the name of that document.
   */
  readonly checksum?:
    | {
        readonly url?: string | undefined;
        readonly sha256?: string | undefined;
        readonly integrity?: { readonly text: string; readonly from: string } | undefined;
      }
    | undefined;
  /** Accept any bytes from the server now, and pin them. */
  readonly unverified?: boolean | undefined;
  readonly fallbacks?: readonly string[] | undefined;
}
export interface ResolveOptions {
  readonly transport: Transport;
  readonly store: Store;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
}
interface Expectation {
  readonly checksum: Checksum | undefined;
  readonly verifiedBy: string;
}
interface Remembered {
  readonly digest: Digest;
  readonly size: number;
  readonly etag?: string | undefined;
}

/**
 * Throws `not-found` only if the artifact itself does not exist; `integrity` if its checksum cannot be obtained; `recipe`
 * if the request has no checksum source or several; otherwise like the transport.
 */
export async function resolveArtifact(request: ArtifactRequest, options: ResolveOptions): Promise<Artifact> {
  checkRequest(request);
  const key = digestOf([request.url, request.checksum ?? null]);
  const remembered = await options.store.getRecord<Remembered>('artifact', key);
  // The key contains the digest itself, and these bytes had it: no request is needed.
  if (remembered && request.checksum?.integrity) return artifactOf(request, remembered, verifier(request));
  const expecting = expectation(request, options);
  expecting.catch(() => {}); // handled after the artifact itself
  try {
    const head = await options.transport.head(request.url, { signal: options.signal });
    const { checksum, verifiedBy } = await expecting;
    const pinned = await pin(request, head, checksum, remembered, options);
    await options.store.putRecord('artifact', key, { ...pinned, etag: head.etag });
    return artifactOf(request, pinned, verifiedBy);
  } catch (error) {
    if (!remembered || !(error instanceof KinaError) || error.code !== 'offline') throw error;
    return artifactOf(request, remembered, verifier(request));
  }
}

async function pin(
  request: ArtifactRequest,
  head: Head,
  checksum: Checksum | undefined,
  remembered: Remembered | undefined,
  options: ResolveOptions,
): Promise<Remembered> {
  if (checksum?.algorithm === 'sha256' && head.size !== undefined)
    return { digest: `sha256:${checksum.hex}`, size: head.size };
  // The key contains the checksum's source, not its value: only an ETag shows that nothing changed.
  const same = head.etag !== undefined && head.etag === remembered?.etag;
  if (same && (await options.store.has(remembered.digest, remembered.size))) return remembered;
  return download(request, head.size, checksum, options);
}

/** Downloads into the store to learn the digest. Not resumable, because partial files are named by digest. */
async function download(
  request: ArtifactRequest,
  size: number | undefined,
  checksum: Checksum | undefined,
  { transport, store, reporter, signal }: ResolveOptions,
): Promise<Remembered> {
  const task = reporter.task('fetch', request.name);
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await transport.request(request.url, { signal });
      const expected = checksum?.algorithm === 'sha256' ? { digest: `sha256:${checksum.hex}` as const } : {};
      const checked = inspect(answer.body, request, checksum, (done) => task.progress(done, size));
      const written = await store.write(checked, { size, ...expected });
      task.done();
      return written;
    } catch (error) {
      if (isTransient(error) && attempt < transport.retries) {
        await transport.pause(attempt, error, signal);
        continue;
      }
      task.fail();
      throw error;
    }
  }
}

/** Passes bytes through, and throws at the end, before the store accepts them, if their SHA-512 is wrong. */
async function* inspect(
  body: AsyncIterable<Buffer>,
  request: ArtifactRequest,
  checksum: Checksum | undefined,
  progress: (done: number) => void,
): AsyncGenerator<Buffer> {
  const hash = checksum?.algorithm === 'sha512' ? createHash('sha512') : undefined;
  let done = 0;
  for await (const chunk of body) {
    hash?.update(chunk);
    done += chunk.length;
    progress(done);
    yield chunk;
  }
  const actual = hash?.digest('hex');
  if (actual !== undefined && actual !== checksum?.hex)
    throw new KinaError('integrity', `${request.name} from ${redact(request.url)} has the wrong digest`, {
      details: [`want sha512:${checksum?.hex} (by ${verifier(request)})`, `got sha512:${actual}, ${done} bytes`],
      hint: 'The file was damaged or replaced on the server or in transit. Try again, or use a different mirror.',
    });
}

async function expectation(request: ArtifactRequest, { transport, signal }: ResolveOptions): Promise<Expectation> {
  const { url, sha256, integrity } = request.checksum ?? {};
  const verifiedBy = verifier(request);
  if (integrity !== undefined) return { checksum: parseIntegrity(integrity.text), verifiedBy };
  if (sha256 !== undefined) return { checksum: { algorithm: 'sha256', hex: sha256.toLowerCase() }, verifiedBy };
  if (url === undefined) return { checksum: undefined, verifiedBy };
  try {
    return {
      checksum: findChecksum(await transport.text(url, { signal }), fileName(request.url), redact(url)),
      verifiedBy,
    };
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'not-found') throw error;
    throw new KinaError('integrity', `${request.name} exists, but its checksum file ${redact(url)} does not`, {
      details: error.details,
      hint: 'Correct the checksum URL, set checksum: { sha256 }, or accept the risk with `unverified: true`.',
      cause: error,
    });
  }
}

function verifier(request: ArtifactRequest): string {
  const { url, sha256, integrity } = request.checksum ?? {};
  return url ?? integrity?.from ?? (sha256 === undefined ? 'none' : 'recipe');
}

function checkRequest({ name, checksum, unverified }: ArtifactRequest): void {
  const given = [checksum?.url, checksum?.sha256, checksum?.integrity].filter((value) => value !== undefined);
  const refuse = (problem: string, hint: string) => new KinaError('recipe', `${name}: ${problem}`, { hint });
  if (unverified && given.length)
    throw refuse('`unverified` and `checksum` contradict each other', 'Keep one of them.');
  if (!unverified && !given.length)
    throw refuse(
      'no checksum is known',
      'Set checksum: { url } or { sha256 }, or accept the risk with `unverified: true`.',
    );
  if (given.length > 1) throw refuse('`checksum` has more than one source', 'Keep one of them.');
  if (checksum?.integrity && !parseIntegrity(checksum.integrity.text))
    throw refuse(
      `${checksum.integrity.from} has no SHA-512 or SHA-256 for it`,
      'Create the file again with a current npm, so that every package has an `integrity` with sha512.',
    );
  if (checksum?.sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(checksum.sha256))
    throw refuse('`sha256` is not 64 hex digits', 'Copy the digest again, without `sha256:`.');
}

function artifactOf(request: ArtifactRequest, { digest, size }: Remembered, verifiedBy: string): Artifact {
  const { type, name, version, url, fallbacks } = request;
  return { type, name, ...(version && { version }), url, size, digest, verifiedBy, ...(fallbacks && { fallbacks }) };
}

function fileName(url: string): string {
  const path = URL.canParse(url) ? new URL(url).pathname : url;
  return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1));
}
