/**
 * Reading many small slices of few files. A root file system is some ten thousand slices of some hundred pack files, in
 * an order that jumps between them; opening a stream per slice costs more than the bytes. So files stay open, up to a
 * number that no limit of open files minds.
 */
import { closeSync, openSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { shorter } from './entry.ts';

const MAX_OPEN = 64;
/**
 * Up to here a synchronous read: with the bytes in the page cache it takes a third to a twentieth of the time of a trip
 * through the thread pool (2 against 37 microseconds for 4 KiB), and without, it does not hold the event loop for long.
 */
const SMALL = 64 << 10;

const readAsync = promisify(read);

export class SliceReader {
  /** Least recently used first. */
  readonly #open = new Map<string, number>();

  /** Fills `into` from `offset` of `file`; throws `store` when the file ends before. */
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

  /** Closes every file; call it in a `finally`. */
  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}
