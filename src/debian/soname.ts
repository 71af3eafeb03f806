/** Reads the shared libraries of a tree for the loader's cache. */
import { readElf } from '../tree/elf.ts';
import type { ReadSoname } from './ldcache.ts';

const machines = { amd64: 'x86-64', arm64: 'aarch64' } as const;

/** Reads sonames; undefined for other architectures, linker scripts and other files with `.so` in their names. */
export function sonameReader(architecture: 'amd64' | 'arm64'): ReadSoname {
  return async (file) => {
    const elf = await readElf(file.content);
    if (elf?.type !== 'shared' || elf.class !== 64 || elf.machine !== machines[architecture]) return undefined;
    return { soname: elf.soname };
  };
}
