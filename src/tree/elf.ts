/**
 * Reads ELF facts from the headers and the dynamic section: a few kilobytes, whatever the file's size.
 *
 * They answer two questions: is this binary for the image's architecture, and which libraries does the loader's cache
 * list under which names. Everything is found through program headers, as the loader does it, since section headers may
 * be stripped. Sources: System V gABI chapters 4 and 5; x86-64 psABI for `.note.gnu.property`.
 */
import { type Content, readRange } from './entry.ts';

export interface Elf {
  readonly class: 32 | 64;
  /** `x86-64`, `aarch64`, another name below, or `machine N`. */
  readonly machine: string;
  /** `executable` has a fixed address; `shared` is a library or a position-independent executable. */
  readonly type: 'relocatable' | 'executable' | 'shared' | 'core' | 'other';
  /** `e_flags`: on 32-bit Arm they distinguish hard and soft float. */
  readonly flags: number;
  readonly soname?: string;
  /** `DT_NEEDED`, in order. */
  readonly needed: readonly string[];
  /** The loader (`PT_INTERP`) of an executable. */
  readonly interpreter?: string;
  /**
   * x86 instruction set levels that the file requires (`GNU_PROPERTY_X86_ISA_1_NEEDED`, found through `PT_GNU_PROPERTY`):
   * bit 0 baseline, 1 v2, 2 v3.
   */
  readonly isaNeeded?: number;
}

const MACHINES: Readonly<Record<number, string>> = {
  3: 'i386',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'x86-64',
  183: 'aarch64',
  243: 'riscv',
  258: 'loongarch',
};
const TYPES: Readonly<Record<number, Elf['type']>> = { 1: 'relocatable', 2: 'executable', 3: 'shared', 4: 'core' };

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_GNU_PROPERTY = 0x6474e553;
const DT_NULL = 0;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_SONAME = 14;
const NT_GNU_PROPERTY_TYPE_0 = 5;
const X86_ISA_1_NEEDED = 0xc0008002;

/** More than any real file has; these limit what a malicious file can cost. */
const MAX_PROGRAM_HEADERS = 1024;
const MAX_DYNAMIC = 1 << 20;
const MAX_STRING = 4096;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/**
 * Reads a file's ELF facts; undefined if it is not an ELF file. Truncated or inconsistent files give the facts that can
 * be read: whether they run is not the builder's concern.
 */
export async function readElf(content: Content): Promise<Elf | undefined> {
  if (content.size < 52) return undefined;
  const head = await readRange(content, 0, 64);
  if (head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const [bits, order] = [head[4], head[5]];
  if ((bits !== 1 && bits !== 2) || (order !== 1 && order !== 2)) return undefined;
  const wide = bits === 2;
  if (wide && head.length < 64) return undefined;
  const view = new Fields(head, wide, order === 1);

  const machine = view.u16(18);
  const facts = {
    class: wide ? 64 : 32,
    machine: MACHINES[machine] ?? `machine ${machine}`,
    type: TYPES[view.u16(16)] ?? 'other',
    flags: view.u32(wide ? 48 : 36),
  } as const;
  const entrySize = view.u16(wide ? 54 : 42);
  const count = Math.min(view.u16(wide ? 56 : 44), MAX_PROGRAM_HEADERS);
  if (count === 0 || entrySize !== (wide ? 56 : 32)) return { ...facts, needed: [] };
  const table = view.over(await readRange(content, view.word(wide ? 32 : 28), count * entrySize));
  const segments = Array.from({ length: Math.floor(table.length / entrySize) }, (_, i) =>
    segment(table, i * entrySize, wide),
  );
  const find = (type: number) => segments.find((s) => s.type === type);

  const interpreter = find(PT_INTERP);
  const property = find(PT_GNU_PROPERTY);
  const isaNeeded =
    property && machine === 62 ? isaOf(view.over(await readSegment(content, property)), wide) : undefined;
  return {
    ...facts,
    ...(await readDynamic(content, segments, view)),
    ...(interpreter ? { interpreter: cString(await readRange(content, interpreter.offset, MAX_STRING)) } : {}),
    ...(isaNeeded === undefined ? {} : { isaNeeded }),
  };
}

async function readDynamic(content: Content, segments: readonly Segment[], view: Fields) {
  const dynamic = segments.find((s) => s.type === PT_DYNAMIC);
  if (!dynamic) return { needed: [] };
  const entries = view.over(await readSegment(content, dynamic));
  const needed: number[] = [];
  let soname: number | undefined;
  let strings: number | undefined;
  for (let at = 0; at + 2 * entries.wordSize <= entries.length; at += 2 * entries.wordSize) {
    const tag = entries.word(at);
    const value = entries.word(at + entries.wordSize);
    if (tag === DT_NULL) break;
    if (tag === DT_NEEDED) needed.push(value);
    if (tag === DT_SONAME) soname = value;
    if (tag === DT_STRTAB) strings = value;
  }
  // The string table is given by address; the segment loaded there gives its file offset.
  const home = segments.find((s) => s.type === PT_LOAD && strings !== undefined && within(strings, s));
  if (!home || strings === undefined) return { needed: [] };
  const base = strings - home.address + home.offset;
  const name = async (at: number) => cString(await readRange(content, base + at, MAX_STRING));
  const names: string[] = [];
  for (const at of needed) names.push(await name(at));
  return { needed: names, ...(soname === undefined ? {} : { soname: await name(soname) }) };
}

function within(address: number, { address: start, size }: Segment): boolean {
  return address >= start && address < start + size;
}

function readSegment(content: Content, { offset, size }: Segment): Promise<Buffer> {
  return readRange(content, offset, Math.min(size, MAX_DYNAMIC));
}

function segment(table: Fields, at: number, wide: boolean): Segment {
  return {
    type: table.u32(at),
    offset: table.word(at + (wide ? 8 : 4)),
    address: table.word(at + (wide ? 16 : 8)),
    size: table.word(at + (wide ? 32 : 16)),
  };
}

/** A note named GNU whose description is a list of (type, size, data), padded to the word size of the class. */
function isaOf(note: Fields, wide: boolean): number | undefined {
  if (note.length < 16 || note.u32(8) !== NT_GNU_PROPERTY_TYPE_0) return undefined;
  const end = Math.min(note.length, 16 + note.u32(4));
  for (let at = 16; at + 12 <= end; ) {
    if (note.u32(at) === X86_ISA_1_NEEDED) return note.u32(at + 8);
    const align = wide ? 8 : 4;
    at += 8 + Math.ceil(note.u32(at + 4) / align) * align;
  }
  return undefined;
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** Numbers in the file's byte order and word size; a word too large for a file offset reads as infinity. */
class Fields {
  readonly length: number;
  readonly wordSize: number;
  readonly #bytes: Buffer;
  readonly #little: boolean;

  constructor(bytes: Buffer, wide: boolean, little: boolean) {
    this.#bytes = bytes;
    this.#little = little;
    this.length = bytes.length;
    this.wordSize = wide ? 8 : 4;
  }

  /** A view of other bytes of the same file. */
  over(bytes: Buffer): Fields {
    return new Fields(bytes, this.wordSize === 8, this.#little);
  }

  u16(at: number): number {
    return this.#little ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
  }

  u32(at: number): number {
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  word(at: number): number {
    if (this.wordSize === 4) return this.u32(at);
    const value = this.#little ? this.#bytes.readBigUInt64LE(at) : this.#bytes.readBigUInt64BE(at);
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value);
  }
}
