/**
 * Joins many small sequential writes into a few large ones: a call for each of a hundred thousand files would cost more than
 * their bytes. While one piece is being written, the next one is collected.
 */
import type { FileHandle } from 'node:fs/promises';

const SIZE = 1 << 20;
/** Gaps between files are smaller than a block; they are filled with zeros, as in the new file. */
const maxGap = 4096;

export class SequentialWriter {
  readonly #handle: FileHandle;
  #buffer = Buffer.allocUnsafeSlow(SIZE);
  #spare = Buffer.allocUnsafeSlow(SIZE);
  #start = 0;
  #used = 0;
  #writing: Promise<void> = Promise.resolve();

  /** `handle` is of a new file without other writers. */
  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Any order works; front to back is fast. The caller may reuse `bytes` at once. */
  async put(offset: number, bytes: Uint8Array): Promise<void> {
    const gap = offset - this.#start - this.#used;
    if (gap >= 0 && gap < maxGap && this.#used + gap < SIZE) {
      this.#buffer.fill(0, this.#used, this.#used + gap);
      this.#used += gap;
    } else {
      await this.#flush();
      this.#start = offset;
    }
    for (let done = 0; done < bytes.length; ) {
      const piece = bytes.subarray(done, done + SIZE - this.#used);
      this.#buffer.set(piece, this.#used);
      this.#used += piece.length;
      done += piece.length;
      if (this.#used === SIZE) await this.#flush();
    }
  }

  /** Everything has been written when this returns. */
  async end(): Promise<void> {
    await this.#flush();
    await this.#writing;
  }

  async #flush(): Promise<void> {
    await this.#writing;
    const [piece, start] = [this.#buffer.subarray(0, this.#used), this.#start];
    [this.#buffer, this.#spare] = [this.#spare, this.#buffer];
    this.#start += this.#used;
    this.#used = 0;
    this.#writing = this.#write(piece, start);
    this.#writing.catch(() => {}); // the next caller gets the error
  }

  async #write(piece: Uint8Array, start: number): Promise<void> {
    for (let done = 0; done < piece.length; )
      done += (await this.#handle.write(piece, done, piece.length - done, start + done)).bytesWritten;
  }
}
