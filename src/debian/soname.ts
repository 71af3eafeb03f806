/** Shared libraries of a tree as the loader's cache wants them. */
import { readElf } from '../tree/elf.ts';
import type { ReadSoname } from './ldcache.ts';

const machines = { amd64: 'x86-64', arm64: 'aarch64' } as const;

/** Reads sonames; undefined for other architectures, linker scripts and whatever else is called `.so`. */
export function sonameReader(architecture: 'amd64' | 'arm64'): ReadSoname {
  return async (file) => {
    const elf = await readElf(file.content);
    if (elf?.type !== 'shared' || elf.class !== 64 || elf.machine !== machines[architecture]) return undefined;
    return { soname: elf.soname };
  };
}
