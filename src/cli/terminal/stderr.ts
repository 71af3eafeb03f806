/** Messages on stderr. */

export function print(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** The one form of warnings. */
export function warning(message: string): string {
  return `WARNING: ${message}`;
}

export function warn(message: string): void {
  print(warning(message));
}
