/** A running node image, seen from outside: it takes commands and returns their output. */

export interface ShellResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BootTarget {
  /** Display name: `podman 4.3.1`. */
  readonly title: string;
  /** Factor for all time limits. */
  readonly patience: number;
  /**
   * Runs a shell command as root. After `timeout` seconds (default 60) it is killed, with a non-zero code. Throws
   * `NodeEnded` if the node is gone.
   */
  exec(command: string, options?: { readonly timeout?: number }): Promise<ShellResult>;
  /** Output of the first process, or of the machine's console, so far. */
  logs(): Promise<string>;
  /** Removes the node and everything created for it; can be called twice. */
  stop(): Promise<void>;
}

/** The node is gone or never started. This is a result about the image, not an error of kina. */
export class NodeEnded extends Error {
  /** Its output, as far as known. */
  readonly output: string;

  constructor(message: string, output = '') {
    super(message);
    this.name = 'NodeEnded';
    this.output = output;
  }
}
