/** Something that an image boots in, seen from outside: commands go in, what was written comes out. */

export interface ShellResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BootTarget {
  /** For people: `podman 4.3.1`. */
  readonly title: string;
  /** How much longer than usual everything may take here. */
  readonly patience: number;
  /**
   * Runs a shell command as root. One that outlives `timeout` seconds (60) is ended and has a code that is not 0. Throws
   * `NodeEnded` when there is nothing left that could run it.
   */
  exec(command: string, options?: { readonly timeout?: number }): Promise<ShellResult>;
  /** What the first process, or the machine's console, wrote so far. */
  logs(): Promise<string>;
  /** Removes it and everything that was made for it; safe to call twice. */
  stop(): Promise<void>;
}

/** The node is gone, or never came to be; an answer about the image, not an error of kina's. */
export class NodeEnded extends Error {
  /** What it wrote, as far as that is known here. */
  readonly output: string;

  constructor(message: string, output = '') {
    super(message);
    this.name = 'NodeEnded';
    this.output = output;
  }
}
