/**
 * Reads many small slices of few files. A root file system has some ten thousand slices in some hundred pack files, in an
 * order that jumps between them; opening a stream per slice would cost more than the reads. Files therefore stay open,
 * up to a number well below the usual limits on open files.
 */
import { closeSync, openSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { shorter } from './entry.ts';

const MAX_OPEN = 64;
/**
 * Up to this size reads are synchronous: with the bytes in the page cache a read takes a third to a twentieth of the time
 * of a thread pool round trip (2 against 37 microseconds for 4 KiB), and otherwise it blocks the event loop only briefly.
 */
const SMALL = 64 << 10;

const readAsync = promisify(read);

export class SliceReader {
  /** Least recently used first. */
  readonly #open = new Map<string, number>();

  /** Fills `into` from `offset` of `file`; throws `store` if the file is too short. */
  async fill(file: string, offset: number, into: Buffer): Promise<void> {
    const fd = this.#descriptor(file);
    let done = 0;
    while (done < into.length) {
      const left = into.length - done;
      const count =
        left <= SMALL
          ? readSync(fd, into, done, left, offset + done)
          : (await readAsync(fd, into, done, left, offset + done)).bytesRead;
      if (count === 0) throw shorter(file, offset, done, into.length);
      done += count;
    }
  }

  #descriptor(file: string): number {
    let fd = this.#open.get(file);
    if (fd !== undefined) this.#open.delete(file);
    else {
      if (this.#open.size >= MAX_OPEN) {
        const [oldest, stale] = this.#open.entries().next().value as [string, number];
        this.#open.delete(oldest);
        closeSync(stale);
      }
      fd = openSync(file, 'r');
    }
    this.#open.set(file, fd);
    return fd;
  }

  /** Closes all files; call it in a `finally`. */
  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}
