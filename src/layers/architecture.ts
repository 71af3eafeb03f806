/** ELF machine names (`readElf`) per architecture. */
import type { Architecture } from '../oci/platform.ts';

export const elfMachines: Readonly<Record<Architecture, string>> = { amd64: 'x86-64', arm64: 'aarch64' };
