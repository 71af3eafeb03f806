/** Shared libraries of a tree as the loader's cache wants them. */

import { readElf } from '../tree/elf.ts';
import type { FileEntry } from '../tree/entry.ts';

/** The soname of a shared library; undefined for scripts, linker scripts and whatever else is called `.so`. */
export async function readSoname(file: FileEntry): Promise<{ soname: string | undefined } | undefined> {
  const elf = await readElf(file.content);
  return elf ? { soname: elf.soname } : undefined;
}
