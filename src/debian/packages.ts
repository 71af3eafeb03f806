/**
 * A `Packages` index of one suite, component and architecture.
 *
 * Debian main has 65 000 stanzas in 55 MB, of which a node needs 200. So the text stays one buffer, one native scan finds
 * where the stanzas begin and what is provided or essential, and a stanza is parsed when somebody asks for its name.
 */
import { KinaError } from '../host/errors.ts';
import { parseStanza, required, type Stanza } from './deb822.ts';
import { type OrGroup, type Provided, parseProvides, parseRelations } from './relations.ts';

/** What the resolver and the lock need to know of one package version. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  /** Of the package: `amd64`, `arm64` or `all`. */
  readonly architecture: string;
  /** Pool path, relative to the archive's base. */
  readonly filename: string;
  /** Bytes of the .deb. */
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
  /** KiB, as the field counts. */
  readonly installedSize: number;
  readonly section: string;
}

/** Reads a stanza of a `Packages` file. `from` names the index in messages. */
export function packageRecord(stanza: Stanza, architecture: string, from: string): PackageRecord {
  const name = required(stanza, 'Package', from);
  const where = `${from}, package ${name}`;
  const relations = (field: string) => parseRelations(stanza.get(field), architecture, where);
  const filename = required(stanza, 'Filename', where);
  const sha256 = required(stanza, 'SHA256', where);
  const size = Number(required(stanza, 'Size', where));
  if (!/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(size) || size <= 0)
    throw new KinaError('debian', `${where}: not a size and SHA-256: ${stanza.get('size')} ${sha256}`);
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

/** Fields that make apt take note of a name. */
const naming = /^(?:Package|Pre-Depends|Depends|Conflicts|Breaks|Recommends|Suggests|Replaces|Enhances|Provides): /;

/** Looks packages up by name or by what they provide. */
export class PackageIndex {
  readonly #text: Buffer;
  readonly #architecture: string;
  readonly #from: string;
  /** Where each name's stanzas begin: almost always one. */
  readonly #byName = new Map<string, number | number[]>();
  readonly #providers = new Map<string, Set<string>>();
  readonly #essential: string[] = [];
  readonly #parsed = new Map<string, readonly PackageRecord[]>();

  /** `text`: the whole decompressed file, never changed afterwards. */
  constructor(text: Buffer, architecture: string, from: string) {
    this.#text = text;
    this.#architecture = architecture;
    this.#from = from;
    const starts = this.#scanNames();
    this.#scanField('\nProvides: ', starts, (name, value) => {
      for (const { name: virtual } of parseProvides(value, architecture, from)) {
        const known = this.#providers.get(virtual);
        if (known) known.add(name);
        else this.#providers.set(virtual, new Set([name]));
      }
    });
    this.#scanField('\nEssential: yes', starts, (name) => this.#essential.push(name));
  }

  /** Number of package names. */
  get size(): number {
    return this.#byName.size;
  }

  /** Names of the packages marked `Essential: yes`. */
  get essential(): readonly string[] {
    return this.#essential;
  }

  /** All versions of a package, in the order of the file. */
  versions(name: string): readonly PackageRecord[] {
    let records = this.#parsed.get(name);
    if (!records) {
      const at = this.#byName.get(name) ?? [];
      records = (typeof at === 'number' ? [at] : at).map((start) => {
        const stanza = parseStanza(this.#text.toString('utf8', start, this.#end(start)), this.#from);
        return packageRecord(stanza, this.#architecture, this.#from);
      });
      this.#parsed.set(name, records);
    }
    return records;
  }

  /** Names of the packages that provide a virtual name, in the order of the file. */
  providers(virtual: string): readonly string[] {
    return [...(this.#providers.get(virtual) ?? [])];
  }

  /**
   * Where the file first mentions a name, as a package or in a relation; undefined when it never does. apt numbers
   * packages in this order, and the number is what it goes by when nothing else tells two of them apart.
   */
  firstMention(name: string): number | undefined {
    const text = this.#text;
    for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
      if (text[at - 1] !== 32 || !/^[\s,:]/.test(text.toString('latin1', at + name.length, at + name.length + 1)))
        continue;
      const line = text.lastIndexOf(10, at) + 1;
      if (naming.test(text.toString('latin1', line, Math.min(at, line + 16)))) return at;
    }
    return undefined;
  }

  #end(start: number): number {
    const end = this.#text.indexOf('\n\n', start);
    return end < 0 ? this.#text.length : end;
  }

  /** Fills the table of names; answers the start of every stanza. */
  #scanNames(): number[] {
    const text = this.#text;
    const starts: number[] = [];
    let position = 0;
    while (position < text.length) {
      if (text[position] === 10) {
        position++;
        continue;
      }
      starts.push(position);
      const name = this.#nameAt(position);
      const known = this.#byName.get(name);
      if (known === undefined) this.#byName.set(name, position);
      else if (typeof known === 'number') this.#byName.set(name, [known, position]);
      else known.push(position);
      position = this.#end(position) + 2;
    }
    return starts;
  }

  /** Every tool that writes indexes puts `Package` first; a stanza that does not is looked through. */
  #nameAt(start: number): string {
    const text = this.#text;
    let from = start;
    if (text.toString('latin1', start, start + 9) !== 'Package: ') {
      from = text.indexOf('\nPackage: ', start) + 1;
      if (from === 0 || from > this.#end(start))
        throw new KinaError('debian', `${this.#from} has a stanza without Package field at byte ${start}`);
    }
    const line = text.indexOf(10, from);
    return text.toString('latin1', from + 9, line < 0 ? text.length : line).trim();
  }

  #scanField(label: string, starts: readonly number[], found: (name: string, value: string) => void): void {
    const text = this.#text;
    let stanza = 0;
    for (let at = text.indexOf(label); at >= 0; at = text.indexOf(label, at + label.length)) {
      while (stanza + 1 < starts.length && (starts[stanza + 1] as number) <= at) stanza++;
      const line = text.indexOf(10, at + label.length);
      const value = text.toString('latin1', at + label.length, line < 0 ? text.length : line);
      found(this.#nameAt(starts[stanza] as number), value);
    }
  }
}
