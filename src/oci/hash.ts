/** SHA-256 of streams. Chunks should be big: below 64 KiB the call costs more than the hashing. */
import { createHash, type Hash } from 'node:crypto';
import { KinaError } from '../host/errors.ts';
import type { Digest } from './descriptor.ts';

/** Counts and hashes bytes as they pass. */
export class StreamHash {
  size = 0;
  readonly #hash: Hash = createHash('sha256');

  update(chunk: Uint8Array): void {
    this.size += chunk.length;
    this.#hash.update(chunk);
  }

  /** Once, at the end. */
  result(): { digest: Digest; size: number } {
    return { digest: `sha256:${this.#hash.digest('hex')}`, size: this.size };
  }
}

export async function hashStream(source: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; size: number }> {
  const hash = new StreamHash();
  for await (const chunk of source) hash.update(chunk);
  return hash.result();
}

/** Passes bytes on and hashes them; throws `integrity` after the last one when digest or size differ. */
export async function* verified(
  source: AsyncIterable<Uint8Array>,
  want: { readonly digest: Digest; readonly size: number },
  what: string,
  hint?: string,
): AsyncGenerator<Uint8Array> {
  const hash = new StreamHash();
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
  const got = hash.result();
  if (got.digest !== want.digest || got.size !== want.size) throw digestMismatch(what, want, got, hint);
}

/** `what: digest mismatch: got …, want …`, with sizes in bytes where they are known. */
export function digestMismatch(
  what: string,
  want: { readonly digest?: Digest | undefined; readonly size?: number | undefined },
  got: { readonly digest?: Digest | undefined; readonly size?: number | undefined },
  hint?: string,
): KinaError {
  const sized = (size: number | undefined) => (size === undefined ? '' : ` (${size} bytes)`);
  const isSize = want.digest === undefined || want.digest === got.digest || got.digest === undefined;
  const message = isSize
    ? `size mismatch: got ${got.size} bytes, want ${want.size}`
    : `digest mismatch: got ${got.digest}${sized(got.size)}, want ${want.digest}${sized(want.size)}`;
  return new KinaError('integrity', `${what}: ${message}`, hint === undefined ? {} : { hint });
}

/** Joins small chunks into runs of about a megabyte: system calls and hash calls cost more than the copy. */
export async function* inBigChunks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const want = 1 << 20;
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    if (!size && chunk.length >= want) {
      yield chunk;
      continue;
    }
    parts.push(chunk);
    size += chunk.length;
    if (size < want) continue;
    yield Buffer.concat(parts);
    parts = [];
    size = 0;
  }
  if (size) yield parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}
