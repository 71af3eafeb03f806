/** SHA-256 of streams. Chunks should be big: below 64 KiB the call costs more than the hashing. */
import { createHash, type Hash } from 'node:crypto';
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
