/**
 * From a URL to an artifact: how big it is, which digest it must have, and who says so.
 *
 * The file itself is asked first, because a definite "no such thing" about it is an answer (optional components live
 * from it) while anything wrong with its checksum is a failure. Normally two small requests are enough. Three cases
 * need the bytes, which then go into the store right away: there is no published digest and the recipe accepts that
 * (`unverified`), upstream publishes SHA-512 only, or the server does not tell the size. What was learnt is remembered
 * by URL and checksum: without a network it answers again, and an unverified file is not downloaded twice while the
 * server says by ETag that it is the same.
 */
import { createHash } from 'node:crypto';
import { KinaError } from '../host/errors.ts';
import type { Head, Transport } from '../host/http.ts';
import { isTransient } from '../host/http-errors.ts';
import { redact } from '../host/http-route.ts';
import { digestOf } from '../host/json.ts';
import type { Reporter } from '../host/progress.ts';
import type { Store } from '../oci/store/store.ts';
import type { Artifact, ArtifactType, Digest } from './artifact.ts';
import { type Checksum, findChecksum, parseIntegrity } from './checksum-file.ts';

export interface ArtifactRequest {
  readonly type: ArtifactType;
  /** Short name for people. */
  readonly name: string;
  readonly version?: string | undefined;
  /** Canonical. */
  readonly url: string;
  /**
   * The URL of upstream's checksum file, the digest itself (64 hex digits), or what another document says about the file:
   * an integrity string (`sha512-BASE64`) and the name of that document.
   */
  readonly checksum?:
    | {
        readonly url?: string | undefined;
        readonly sha256?: string | undefined;
        readonly integrity?: { readonly text: string; readonly from: string } | undefined;
      }
    | undefined;
  /** Accept whatever the server sends now, and pin that. */
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
 * Throws `not-found` when, and only when, the artifact itself definitely does not exist; `integrity` when its checksum
 * cannot be had; `recipe` when the request says nothing or two things about the checksum; else as the transport.
 */
export async function resolveArtifact(request: ArtifactRequest, options: ResolveOptions): Promise<Artifact> {
  checkRequest(request);
  const key = digestOf([request.url, request.checksum ?? null]);
  const remembered = await options.store.getRecord<Remembered>('artifact', key);
  // The key holds the promised digest itself, and these bytes had it: no request is needed.
  if (remembered && request.checksum?.integrity) return artifactOf(request, remembered, verifier(request));
  const expecting = expectation(request, options);
  expecting.catch(() => {}); // judged after the artifact itself
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
  // A record's key holds the checksum's source, not its value: only an ETag says that nothing changed.
  const same = head.etag !== undefined && head.etag === remembered?.etag;
  if (same && (await options.store.has(remembered.digest, remembered.size))) return remembered;
  return download(request, head.size, checksum, options);
}

/** Into the store, to learn the digest. Not resumable: what to resume is known by its digest only. */
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

/** Lets bytes pass and throws in the end, before the store accepts them, when their SHA-512 is not the promised one. */
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
    throw new KinaError('integrity', `${request.name} from ${redact(request.url)} is not what was promised`, {
      details: [
        `expected sha512:${checksum?.hex} (by ${verifier(request)})`,
        `received sha512:${actual}, ${done} bytes`,
      ],
      hint: 'The file was damaged or replaced on the server or on the way. Try again or use another mirror.',
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
      hint: 'Name the right checksum URL, give checksum: { sha256 }, or accept the risk with `unverified: true`.',
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
      'Give checksum: { url } or { sha256 }, or accept the risk with `unverified: true`.',
    );
  if (given.length > 1) throw refuse('`checksum` names more than one source', 'Keep one of them.');
  if (checksum?.integrity && !parseIntegrity(checksum.integrity.text))
    throw refuse(
      `${checksum.integrity.from} has no SHA-512 or SHA-256 for it`,
      'Write that file again with a current npm, so that every package has an `integrity` with sha512.',
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
