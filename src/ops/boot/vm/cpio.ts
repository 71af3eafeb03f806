/**
 * Writes a "newc" cpio archive, which a kernel unpacks as its initramfs (the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst). Files have a few megabytes, so buffers are sufficient.
 */

export interface CpioEntry {
  /** Relative path. */
  readonly path: string;
  /** Type and permissions like `st_mode`, e.g. 0o100755. */
  readonly mode: number;
  readonly data?: Uint8Array | string;
}

export const cpioDirectory = (path: string): CpioEntry => ({ path, mode: 0o040755 });
export const cpioFile = (path: string, data: Uint8Array | string, executable = false): CpioEntry => ({
  path,
  mode: executable ? 0o100755 : 0o100644,
  data,
});
export const cpioLink = (path: string, target: string): CpioEntry => ({ path, mode: 0o120777, data: target });

/** All entries in the given order: a directory must come before its content. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  const all = [...entries, { path: 'TRAILER!!!', mode: 0 }];
  for (const [index, entry] of all.entries()) {
    const name = Buffer.from(`${entry.path}\0`);
    const data = Buffer.from(entry.data ?? '');
    // magic, then 13 fields: ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
    const fields = [index + 1, entry.mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
    const header = Buffer.from(`070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}`);
    parts.push(header, name, padding(header.length + name.length), data, padding(data.length));
  }
  return Buffer.concat(parts);
}

/** Header with name, and data, each padded to a multiple of four bytes. */
function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
