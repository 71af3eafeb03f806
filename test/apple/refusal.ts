/** How the real program ends when it does not do what it was asked: a code, and words on standard error. */
export class Refusal extends Error {
  readonly code: number;
  /** What was done before, e.g. the names that are gone. */
  readonly stdout: string;

  constructor(message: string, code = 1, stdout = '') {
    super(message);
    this.code = code;
    this.stdout = stdout;
  }
}

/** Errors of the command line: exit code 64. */
export const usage = (message: string): Refusal => new Refusal(`Error: ${message}\n`, 64);

/** Errors at run time: exit code 1. */
export const failure = (message: string, stdout = ''): Refusal => new Refusal(`Error: ${message}\n`, 1, stdout);
