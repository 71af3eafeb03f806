/**
 * Writes to one repository of a registry (OCI distribution specification, "Push"): blobs, then the manifests that name them.
 * An interrupted push leaves unreferenced blobs, never a tag that points to a missing blob.
 *
 * A blob is uploaded in one request. When that breaks off, the registry is asked how much it has and gets the rest in another
 * request; a registry that has forgotten the upload gets all of it again. When the request is too large (413: a proxy in
 * front of it has a limit), the blob is sent in pieces. Blobs of other repositories are mounted, which transfers nothing.
 *
 * Bytes are hashed as they are sent, and the last piece waits for the result: a damaged source never completes an upload in
 * one request. Pieces are not hashed; when the registry rejects the whole, the source is read again to find out whether it is
 * damaged.
 */
import { KinaError } from '../../host/errors.ts';
import type { HttpResponse, Transport, TriedOptions } from '../../host/http.ts';
import { isTransient, TransferError } from '../../host/http-errors.ts';
import { redact } from '../../host/http-route.ts';
import { type Digest, isDigest } from '../descriptor.ts';
import { type ImageReference, repositoryUrl } from '../reference.ts';

export interface BlobToPush {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** The bytes from the start, each time it is called; fails at the end on a mismatch with the digest. */
  open(): AsyncIterable<Uint8Array>;
  /** A range of the blob, both positions inclusive, after `open` was read before; avoids reading from the start. */
  part?(start: number, end: number): AsyncIterable<Uint8Array>;
  /** Repositories of the same registry that may have it. */
  readonly neighbours?: readonly string[] | undefined;
  /** Called with the number of bytes sent. */
  progress?(done: number): void;
}
/** The state of an upload. */
interface Session {
  readonly url: string;
  /** Bytes that the registry has. */
  readonly offset: number;
  /** Minimum size of every piece except the last, in bytes (`OCI-Chunk-Min-Length`). */
  readonly minimum: number;
}

/** The size of a piece when the registry does not require more: small enough for any proxy. */
const pieceBytes = 16 << 20;

export class Repository {
  readonly url: string;
  readonly #name: string;
  readonly #transport: Transport;
  readonly #scope: string;
  readonly #signal: AbortSignal | undefined;

  constructor(reference: ImageReference, transport: Transport, signal?: AbortSignal) {
    this.url = repositoryUrl(reference);
    this.#name = `${reference.registry}/${reference.repository}`;
    this.#transport = transport;
    this.#scope = `repository:${reference.repository}:pull,push`;
    this.#signal = signal;
  }

  /** False also when it is not known: storage that the registry redirects to may not answer a HEAD. */
  async hasBlob(digest: Digest): Promise<boolean> {
    const accept = [400, 403, 404, 405];
    return (await this.#send(`${this.url}/blobs/${digest}`, { method: 'HEAD', accept })).status === 200;
  }

  /** The digest of the manifest with this tag or digest; undefined when there is none, or the registry does not say. */
  async manifestDigest(name: string, mediaType: string): Promise<Digest | undefined> {
    const answer = await this.#send(`${this.url}/manifests/${name}`, {
      method: 'HEAD',
      headers: { accept: mediaType },
      accept: [404],
    });
    const digest = answer.status === 200 ? answer.headers['docker-content-digest'] : undefined;
    return digest !== undefined && isDigest(digest) ? digest : undefined;
  }

  /** `name` is a tag or the digest. Throws `integrity` when the registry stored something else. */
  async putManifest(name: string, bytes: Uint8Array, digest: Digest, mediaType: string): Promise<HttpResponse> {
    const url = `${this.url}/manifests/${name}`;
    for (let failures = 0; ; failures++) {
      try {
        const answer = await this.#send(url, { method: 'PUT', headers: { 'content-type': mediaType }, body: bytes });
        this.#compare(answer, digest, url);
        return answer;
      } catch (error) {
        if (!isUnknownBlob(error) || failures >= this.#transport.retries) throw error;
        await this.#transport.pause(failures, error, this.#signal);
      }
    }
  }

  /** Returns how the registry got the blob. Throws `network`, `integrity`, and what the source throws. */
  async pushBlob(blob: BlobToPush): Promise<'mounted' | 'uploaded'> {
    for (const from of blob.neighbours ?? []) {
      const begun = await this.#mount(blob, from);
      if (begun === 'mounted') return begun;
      if (begun) return this.#upload(blob, begun);
    }
    return this.#upload(blob, await this.#begin());
  }

  async #upload(blob: BlobToPush, begun: Session): Promise<'uploaded'> {
    let session: Session | undefined = begun;
    let piece: number | undefined;
    for (let failures = 0; ; ) {
      try {
        session ??= await this.#begin(0);
        // The rest in one request, unless that is too large.
        while (piece !== undefined && blob.size - session.offset > Math.max(piece, session.minimum))
          session = await this.#patch(blob, session, Math.max(piece, session.minimum));
        if (session.offset > 0 && session.offset < blob.size)
          session = await this.#patch(blob, session, blob.size - session.offset);
        await this.#finish(blob, session);
        return 'uploaded';
      } catch (error) {
        if (error instanceof TransferError && error.status === 413 && piece === undefined && blob.size > pieceBytes) {
          piece = pieceBytes;
          session = undefined;
          continue;
        }
        const forgotten: boolean =
          session !== undefined &&
          ((error instanceof KinaError && error.code === 'not-found') ||
            (error instanceof TransferError && error.status === 416));
        if ((!forgotten && !isTransient(error)) || failures >= this.#transport.retries) throw error;
        await this.#transport.pause(failures++, error, this.#signal);
        const before: number = session?.offset ?? 0;
        session = session && !forgotten ? await this.#state(session, blob.size) : undefined;
        // The upload may be complete, with only the answer lost.
        if (!session && (await this.hasBlob(blob.digest))) return 'uploaded';
        if (session && session.offset > before) failures = 0; // progress on a bad connection
      }
    }
  }

  async #begin(retries?: number): Promise<Session> {
    const url = `${this.url}/blobs/uploads/`;
    const answer = await this.#send(url, { method: 'POST', headers: { 'content-length': '0' }, retries });
    return this.#session(answer, url);
  }

  /** A new upload. */
  #session(answer: HttpResponse, asked: string): Session {
    const minimum = Number(/^\d+$/.exec(answer.headers['oci-chunk-min-length'] ?? '')?.[0] ?? 0);
    return { url: this.#location(answer, asked), offset: 0, minimum };
  }

  /** A session when the registry began an upload instead of mounting; undefined when it refused both. */
  async #mount({ digest }: BlobToPush, from: string): Promise<'mounted' | Session | undefined> {
    const url = `${this.url}/blobs/uploads/`;
    try {
      const answer = await this.#send(`${url}?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`, {
        method: 'POST',
        headers: { 'content-length': '0' },
        scope: `${this.#scope} repository:${from}:pull`,
      });
      return answer.status === 201 ? 'mounted' : this.#session(answer, url);
    } catch (error) {
      // The login may not be allowed to read the other repository; the upload itself may still be allowed.
      if (error instanceof KinaError && (error.code === 'not-found' || error.code === 'network') && !isTransient(error))
        return undefined;
      throw error;
    }
  }

  async #patch(blob: BlobToPush, { url, offset, minimum }: Session, length: number): Promise<Session> {
    const answer = await this.#send(url, {
      method: 'PATCH',
      headers: { ...bodyHeaders(length), 'content-range': `${offset}-${offset + length - 1}` },
      body: () => slice(blob, offset, length),
      retries: 0,
    });
    return { url: this.#location(answer, url), offset: received(answer) || offset + length, minimum };
  }

  async #finish(blob: BlobToPush, { url, offset }: Session): Promise<void> {
    const left = blob.size - offset;
    const end = `${url}${url.includes('?') ? '&' : '?'}digest=${encodeURIComponent(blob.digest)}`;
    try {
      const answer = await this.#send(end, {
        method: 'PUT',
        headers: bodyHeaders(left),
        ...(left > 0 ? { body: () => slice(blob, offset, left) } : {}),
        retries: 0,
      });
      this.#compare(answer, blob.digest, this.url);
    } catch (error) {
      if (error instanceof TransferError && error.status === 400) for await (const _ of blob.open());
      throw error;
    }
  }

  /** Bytes that the registry has; undefined if it no longer knows the upload. */
  async #state({ url, minimum }: Session, size: number): Promise<Session | undefined> {
    try {
      const answer = await this.#send(url, { method: 'GET', accept: [400, 404, 416] });
      if (answer.status >= 300 || received(answer) > size) return undefined;
      return { url: answer.headers.location ? this.#location(answer, url) : url, offset: received(answer), minimum };
    } catch (error) {
      if (error instanceof KinaError && error.code === 'network') return undefined;
      throw error;
    }
  }

  /** The next URL. The registry's own host keeps its scheme: behind a proxy that terminates TLS, a registry reports http. */
  #location({ headers }: HttpResponse, asked: string): string {
    const { location } = headers;
    const wrong = (problem: string) =>
      new KinaError('network', `${this.#name}: the registry ${problem}`, {
        hint: 'It may not be a registry, or a proxy in between changes the responses.',
      });
    if (!location || !URL.canParse(location, asked)) throw wrong('does not say where to upload to');
    const base = new URL(asked);
    const next = new URL(location, asked);
    if (next.host === base.host) next.protocol = base.protocol;
    if (next.protocol !== 'https:' && !(next.protocol === 'http:' && base.protocol === 'http:'))
      throw wrong(`wants the upload at ${redact(next.href)}, which is not https`);
    return next.href;
  }

  #compare({ headers }: HttpResponse, digest: Digest, url: string): void {
    const stored = headers['docker-content-digest'];
    if (!stored?.startsWith('sha256:') || stored === digest) return;
    throw new KinaError('integrity', `${redact(url)}: the registry stored different bytes than it was sent`, {
      details: [`sent   ${digest}`, `stored ${stored}`],
      hint: 'The registry or a proxy before it changes what passes. Nothing refers to it; push elsewhere.',
    });
  }

  /** The answer without its body. */
  async #send(url: string, options: TriedOptions): Promise<HttpResponse> {
    try {
      const answer = await this.#transport.request(url, { scope: this.#scope, signal: this.#signal, ...options });
      answer.body.destroy();
      return answer;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof TransferError) || (error.status !== 401 && error.status !== 403)) return error;
    if (error.hint?.startsWith('The login')) return error;
    const host = this.#name.slice(0, this.#name.indexOf('/'));
    return new TransferError(error.message, {
      transient: false,
      status: error.status,
      details: error.details,
      cause: error,
      hint: `Log in first: \`docker login ${host}\`, \`podman login ${host}\` or \`skopeo login ${host}\`.`,
    });
  }
}

function bodyHeaders(length: number): Record<string, string> {
  return { 'content-type': 'application/octet-stream', 'content-length': String(length) };
}

/** Bytes received, from `Range: 0-LAST`. Registries answer `0-0` for an upload without bytes. */
function received({ headers }: HttpResponse): number {
  const last = Number(/^(?:bytes=)?0-(\d+)$/.exec(headers.range ?? '')?.[1] ?? 0);
  return last === 0 ? 0 : last + 1;
}

/** A part of a blob. The last chunk is held back until the source has ended without an error. */
async function* slice(blob: BlobToPush, start: number, length: number): AsyncGenerator<Uint8Array> {
  const end = start + length;
  const rest = start > 0 ? blob.part?.(start, end - 1) : undefined;
  let position = rest ? start : 0;
  let held: Uint8Array | undefined;
  for await (const chunk of rest ?? blob.open()) {
    const from = Math.max(0, start - position);
    const piece = chunk.subarray(from, Math.max(from, end - position));
    position += chunk.length;
    if (!piece.length) {
      if (position > end && end < blob.size) break;
      continue;
    }
    if (held) yield held;
    held = piece;
    blob.progress?.(Math.min(position, end));
  }
  if (held) yield held;
}

/**
 * The blobs are there: each was uploaded or found before its manifest is sent. A registry still says this while another push
 * of the same blob rewrites the blob's link, which distribution's file system storage does in place, or while storage lags.
 */
function isUnknownBlob(error: unknown): boolean {
  return error instanceof KinaError && error.details.some((line) => line.includes('BLOB_UNKNOWN'));
}
