/**
 * The sizes of a client's terminal: a sequence of JSON objects, `{"Width":80,"Height":24}`, split anywhere by the
 * transport. Only the newest size matters, so a busy reader skips those in between.
 */
import type { TerminalSize } from './backend.ts';

/** An object has about 30 characters; longer text is invalid. */
const longest = 1024;

export class ResizeEvents implements AsyncIterable<TerminalSize> {
  #text = '';
  #newest: TerminalSize | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  /** The next bytes of the sequence. An invalid size ends it: nothing after it can be trusted. */
  push(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#text += Buffer.from(bytes).toString('latin1');
    for (let end = this.#text.indexOf('}'); end >= 0; end = this.#text.indexOf('}')) {
      const size = parseSize(this.#text.slice(0, end + 1));
      this.#text = this.#text.slice(end + 1);
      if (size) this.#newest = size;
      else this.end();
    }
    if (this.#text.length > longest) this.end();
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#text = '';
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TerminalSize, void> {
    for (;;) {
      const size = this.#newest;
      this.#newest = undefined;
      if (size) yield size;
      else if (this.#ended) return;
      else {
        await new Promise<void>((wake) => {
          this.#wake = wake;
        });
        this.#wake = undefined;
      }
    }
  }
}

function parseSize(text: string): TerminalSize | undefined {
  try {
    const { Width: width, Height: height } = JSON.parse(text);
    return isSize(width) && isSize(height) ? { width, height } : undefined;
  } catch {
    return undefined;
  }
}

/** `struct winsize` holds 16 bits. */
function isSize(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 0xffff;
}
