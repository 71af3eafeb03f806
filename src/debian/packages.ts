/**
 * A `Packages` index of one suite, component and architecture.
 *
 * Debian main has 69 000 stanzas in 57 MB, of which a node needs 200. The text therefore stays one buffer; one scan finds
 * the stanzas and what is provided or essential, and a stanza is parsed on demand. Names are found by hash: as strings,
 * they and the 69 000 provided names took 30 MB.
 */
import { KinaError } from '../host/errors.ts';
import { parseStanza, required, type Stanza } from './deb822.ts';
import { type OrGroup, type Provided, parseProvides, parseRelations } from './relations.ts';

/** What the resolver and the lock need from one package version. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  /** The package's architecture: `amd64`, `arm64` or `all`. */
  readonly architecture: string;
  /** Pool path, relative to the archive's base. */
  readonly filename: string;
  /** Size of the .deb in bytes. */
  readonly size: number;
  /** Hexadecimal, lower case. */
  readonly sha256: string;
  readonly preDepends: readonly OrGroup[];
  readonly depends: readonly OrGroup[];
  readonly conflicts: readonly OrGroup[];
  readonly breaks: readonly OrGroup[];
  readonly replaces: readonly OrGroup[];
  readonly provides: readonly Provided[];
  readonly essential: boolean;
  readonly priority: string;
  readonly multiArch: string;
  /** Source package, without its version. */
  readonly source: string;
  /** In KiB, like the field. */
  readonly installedSize: number;
  readonly section: string;
}

/** Parses a stanza of a `Packages` file. `from` names the index in messages. */
export function packageRecord(stanza: Stanza, architecture: string, from: string): PackageRecord {
  const name = required(stanza, 'Package', from);
  const where = `${from}, package ${name}`;
  const relations = (field: string) => parseRelations(stanza.get(field), architecture, where);
  const filename = required(stanza, 'Filename', where);
  const sha256 = required(stanza, 'SHA256', where);
  const size = Number(required(stanza, 'Size', where));
  if (!/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(size) || size <= 0)
    throw new KinaError('debian', `${where}: invalid size or SHA-256: ${stanza.get('size')} ${sha256}`);
  if (filename.startsWith('/') || filename.split('/').includes('..'))
    throw new KinaError('debian', `${where}: the pool path leaves the archive: ${filename}`);
  return {
    name,
    version: required(stanza, 'Version', where),
    architecture: required(stanza, 'Architecture', where),
    filename,
    size,
    sha256,
    preDepends: relations('pre-depends'),
    depends: relations('depends'),
    conflicts: relations('conflicts'),
    breaks: relations('breaks'),
    replaces: relations('replaces'),
    provides: parseProvides(stanza.get('provides'), architecture, where),
    essential: stanza.get('essential') === 'yes',
    priority: stanza.get('priority') ?? 'optional',
    multiArch: stanza.get('multi-arch') ?? 'no',
    source: stanza.get('source')?.replace(/ .*/, '') ?? name,
    installedSize: Number(stanza.get('installed-size') ?? 0),
    section: stanza.get('section') ?? '',
  };
}

/** Fields whose names get a number in apt; see `mentioned`. */
const naming = /^(?:Package|Pre-Depends|Depends|Conflicts|Breaks|Recommends|Suggests|Replaces|Enhances|Provides): /;

/** Looks up packages by name or by what they provide. */
export class PackageIndex {
  readonly #text: Buffer;
  readonly #architecture: string;
  readonly #from: string;
  readonly #named: NameTable;
  readonly #providing: NameTable;
  readonly #essential: readonly string[];
  readonly #parsed = new Map<string, readonly PackageRecord[]>();

  /** `text`: the whole decompressed file; must not change afterwards. */
  constructor(text: Buffer, architecture: string, from: string) {
    this.#text = text;
    this.#architecture = architecture;
    this.#from = from;
    const starts = this.#stanzas();
    this.#named = new NameTable(
      starts,
      starts.map((start) => hashRange(text, ...this.#nameAt(start))),
    );
    const providers: number[] = [];
    const provided: number[] = [];
    this.#scanField('\nProvides:', starts, (stanza, at) => {
      for (const hash of hashesOfList(text, at)) {
        providers.push(stanza);
        provided.push(hash);
      }
    });
    this.#providing = new NameTable(providers, provided);
    const essential: string[] = [];
    this.#scanField('\nEssential: yes', starts, (stanza) => essential.push(this.#name(stanza)));
    this.#essential = essential;
  }

  /** Names of the packages marked `Essential: yes`. */
  get essential(): readonly string[] {
    return this.#essential;
  }

  /** All versions of a package, in file order. */
  versions(name: string): readonly PackageRecord[] {
    let records = this.#parsed.get(name);
    if (!records) {
      const starts = this.#named.find(hashText(name)).filter((start) => this.#name(start) === name);
      records = starts.map((start) => {
        const stanza = parseStanza(this.#text.toString('utf8', start, this.#end(start)), this.#from);
        return packageRecord(stanza, this.#architecture, this.#from);
      });
      this.#parsed.set(name, records);
    }
    return records;
  }

  /** Names of the packages that provide a virtual name, in file order. */
  providers(virtual: string): readonly string[] {
    const names = new Set(this.#providing.find(hashText(virtual)).map((start) => this.#name(start)));
    return [...names].filter((name) =>
      this.versions(name).some(({ provides }) => provides.some((one) => one.name === virtual)),
    );
  }

  /**
   * The offset of the first mention of a name, as a package or in a relation; undefined if there is none. apt numbers
   * packages in this order, and uses the number to decide between otherwise equal packages.
   */
  firstMention(name: string): number | undefined {
    const text = this.#text;
    for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
      if (text[at - 1] !== SPACE || !/^[\s,:]/.test(text.toString('latin1', at + name.length, at + name.length + 1)))
        continue;
      const line = text.lastIndexOf(NEWLINE, at) + 1;
      if (naming.test(text.toString('latin1', line, Math.min(at, line + 16)))) return at;
    }
    return undefined;
  }

  #end(start: number): number {
    const end = this.#text.indexOf('\n\n', start);
    return end < 0 ? this.#text.length : end;
  }

  /** The start of each stanza. */
  #stanzas(): number[] {
    const text = this.#text;
    const starts: number[] = [];
    let position = 0;
    while (position < text.length) {
      if (text[position] === NEWLINE) {
        position++;
        continue;
      }
      starts.push(position);
      position = this.#end(position) + 2;
    }
    return starts;
  }

  #name(start: number): string {
    return this.#text.toString('latin1', ...this.#nameAt(start));
  }

  /** Start and end of a stanza's name. All index writers put `Package` first; otherwise the stanza is searched. */
  #nameAt(start: number): [from: number, to: number] {
    const text = this.#text;
    let from = start;
    if (text.toString('latin1', start, start + 9) !== 'Package: ') {
      from = text.indexOf('\nPackage: ', start) + 1;
      if (from === 0 || from > this.#end(start))
        throw new KinaError('debian', `${this.#from} has a stanza without a Package field at byte ${start}`);
    }
    from += 9;
    while (text[from] === SPACE) from++;
    let to = from;
    while (to < text.length && (text[to] as number) > SPACE) to++;
    return [from, to];
  }

  /** Calls back for each line with this label: the stanza that contains it, and the offset after the label. */
  #scanField(label: string, starts: readonly number[], found: (stanza: number, at: number) => void): void {
    let stanza = 0;
    for (let at = this.#text.indexOf(label); at >= 0; at = this.#text.indexOf(label, at + label.length)) {
      while (stanza + 1 < starts.length && (starts[stanza + 1] as number) <= at) stanza++;
      found(starts[stanza] as number, at + label.length);
    }
  }
}

const [TAB, NEWLINE, SPACE, COMMA] = [9, 10, 32, 44];

/**
 * Offsets in a text by the hash of a name. Two names may have the same hash, so callers must compare.
 *
 * The entries of a bucket keep their order, and so do the offsets of one name.
 */
class NameTable {
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #hashes: Uint32Array;
  readonly #places: Uint32Array;

  constructor(places: readonly number[], hashes: readonly number[]) {
    this.#places = Uint32Array.from(places);
    this.#hashes = Uint32Array.from(hashes);
    this.#heads = new Int32Array(2 ** Math.ceil(Math.log2(hashes.length + 1))).fill(-1);
    this.#next = new Int32Array(hashes.length);
    for (let i = hashes.length - 1; i >= 0; i--) {
      const bucket = this.#bucket(this.#hashes[i] as number);
      this.#next[i] = this.#heads[bucket] as number;
      this.#heads[bucket] = i;
    }
  }

  find(hash: number): number[] {
    const found: number[] = [];
    for (let i = this.#heads[this.#bucket(hash)] as number; i >= 0; i = this.#next[i] as number)
      if (this.#hashes[i] === hash) found.push(this.#places[i] as number);
    return found;
  }

  #bucket(hash: number): number {
    return hash & (this.#heads.length - 1);
  }
}

/** FNV-1a, 32 bits. */
function hashRange(text: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (text[at] as number), 0x01000193);
  return hash >>> 0;
}

function hashText(name: string): number {
  const bytes = Buffer.from(name, 'latin1');
  return hashRange(bytes, 0, bytes.length);
}

/** Hashes of the names in a `Provides` field: the first word of each part between commas. */
function hashesOfList(text: Buffer, start: number): number[] {
  let end = text.indexOf(NEWLINE, start);
  while (end >= 0 && isBlank(text[end + 1])) end = text.indexOf(NEWLINE, end + 1);
  if (end < 0) end = text.length;
  const hashes: number[] = [];
  for (let at = start; at < end; at++) {
    while (at < end && isBlank(text[at])) at++;
    const from = at;
    while (at < end && isNamePart(text[at] as number)) at++;
    if (at > from) hashes.push(hashRange(text, from, at));
    while (at < end && text[at] !== COMMA) at++;
  }
  return hashes;
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB || byte === NEWLINE;
}

/** Letters, digits, `+`, `-` and `.`: the characters of a name in parseRelations. */
function isNamePart(byte: number): boolean {
  const letter = byte | 0x20;
  return (letter >= 97 && letter <= 122) || (byte >= 48 && byte <= 57) || byte === 43 || byte === 45 || byte === 46;
}
