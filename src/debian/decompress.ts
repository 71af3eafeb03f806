/** Decompresses an index into one buffer of exactly the size in the signed index. */
import { createHash } from 'node:crypto';
import { decompressFile } from '../host/compression/decompress.ts';
import { KinaError } from '../host/errors.ts';

/** Decompresses `file` and checks size and SHA-256 (hexadecimal) of the output. Throws `integrity`. */
export async function decompressIndex(
  file: string,
  packedSize: number,
  want: { readonly size: number; readonly sha256: string },
  from: string,
): Promise<Buffer> {
  const hash = createHash('sha256');
  let text: Buffer | undefined;
  let at = 0;
  const options = { offset: 0, size: packedSize, limit: want.size, chunkSize: want.size + 64 };
  for await (const chunk of decompressFile(file, options)) {
    if (at + chunk.length > want.size) break;
    // Decoders emit views of one buffer as long as it has room: that buffer is then the text, without a copy.
    text ??=
      chunk.byteOffset === 0 && chunk.buffer.byteLength >= want.size
        ? startOf(chunk, want.size)
        : Buffer.allocUnsafe(want.size);
    if (chunk.buffer !== text.buffer || chunk.byteOffset !== at) chunk.copy(text, at);
    hash.update(chunk);
    at += chunk.length;
  }
  if (at === want.size && hash.digest('hex') === want.sha256) return text ?? Buffer.alloc(0);
  throw new KinaError('integrity', `the ${from} does not match the signed index`, {
    details: [`want ${want.size} bytes, SHA-256 ${want.sha256}`, `got ${at} bytes`],
    hint: 'The mirror is being updated or is broken: try again in a few minutes, or use a different mirror.',
  });
}

function startOf({ buffer }: Buffer, size: number): Buffer {
  return Buffer.from(buffer as ArrayBuffer, 0, size);
}
