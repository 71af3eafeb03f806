/** The text of a compressed index in one buffer of exactly the size that the signed index promises. */
import { createHash } from 'node:crypto';
import { decompressFile } from '../host/compression/decompress.ts';
import { KinaError } from '../host/errors.ts';

/** Decompresses `file` and checks size and SHA-256 (hexadecimal) of what comes out. Throws `integrity`. */
export async function decompressIndex(
  file: string,
  packedSize: number,
  promised: { readonly size: number; readonly sha256: string },
  from: string,
): Promise<Buffer> {
  const hash = createHash('sha256');
  let text: Buffer | undefined;
  let at = 0;
  const options = { offset: 0, size: packedSize, limit: promised.size, chunkSize: promised.size + 64 };
  for await (const chunk of decompressFile(file, options)) {
    if (at + chunk.length > promised.size) break;
    // Decoders put out views of one buffer as long as it has room: then that buffer is the text, and nothing is copied.
    text ??=
      chunk.byteOffset === 0 && chunk.buffer.byteLength >= promised.size
        ? startOf(chunk, promised.size)
        : Buffer.allocUnsafe(promised.size);
    if (chunk.buffer !== text.buffer || chunk.byteOffset !== at) chunk.copy(text, at);
    hash.update(chunk);
    at += chunk.length;
  }
  if (at === promised.size && hash.digest('hex') === promised.sha256) return text ?? Buffer.alloc(0);
  throw new KinaError('integrity', `the ${from} is not what the signed index promises`, {
    details: [`expected ${promised.size} bytes, SHA-256 ${promised.sha256}`, `got ${at} bytes`],
    hint: 'The mirror is being updated or is broken; try again in some minutes or use another one.',
  });
}

function startOf({ buffer }: Buffer, size: number): Buffer {
  return Buffer.from(buffer as ArrayBuffer, 0, size);
}
