/**
 * A cluster file as text: parsed, with the place of everything in it, down to a line of a patch that stands inside it as a
 * block of text.
 */
import {
  type Document,
  isMap,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
  visit,
} from 'yaml';
import { Source } from '../../host/diagnose.ts';

/** A place inside a text, both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Mappings whose values are texts in kind, and the single ones that people write as numbers. */
const textMappings = new Set(['labels', 'runtimeConfig']);
const textKeys = new Set(['name', 'version']);

export class ClusterText {
  readonly source: Source;
  /** What the file says; `null`s are left out, as Go's decoder treats them. `undefined` when it says nothing. */
  readonly content: unknown;
  /** What keeps the text from being read: `FILE:LINE:COLUMN: why`. */
  readonly syntaxErrors: readonly string[];
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #text: string;
  readonly #file: string;

  constructor(text: string, file: string) {
    this.#lines = new LineCounter();
    this.#text = text;
    this.#file = file;
    const parsed = parseAllDocuments(text, {
      lineCounter: this.#lines,
      uniqueKeys: true,
      version: '1.2',
      merge: true,
    });
    const documents = 'empty' in parsed ? [] : parsed;
    // An empty document after `---` at the end of a file says nothing.
    const meant = documents.filter((document) => !isEmpty(document) || document.errors.length > 0);
    this.#document = meant[0] ?? (parseAllDocuments('{}')[0] as Document.Parsed);
    this.source = new Source(file, this.#document, this.#lines);
    this.syntaxErrors = [
      ...meant.flatMap((document) => document.errors).map((e) => `${this.#at(e.pos[0])}: ${e.message.split('\n')[0]}`),
      ...meant
        .slice(1)
        .map((document) => `${this.#at(startOf(document))}: a second YAML document; a file describes one cluster`),
    ];
    keepWrittenTexts(this.#document);
    this.content = meant[0] && this.syntaxErrors.length === 0 ? withoutNulls(meant[0].toJS()) : undefined;
  }

  /** `FILE:LINE:COLUMN` of `inside` in the text at `path`; of the text itself where it is no block (`|`). */
  locate(path: readonly PropertyKey[], inside: Position = { line: 1, column: 1 }): string {
    const node = this.#document.getIn(path, true);
    if (!isScalar(node) || node.type !== 'BLOCK_LITERAL' || !node.range) return this.source.locate(path);
    const first = this.#lines.linePos(node.range[0]).line + 1;
    const line = first + inside.line - 1;
    const written = this.#text.split('\n').slice(first - 1, line);
    const indented = written.find((text) => text.trim() !== '') ?? '';
    // The block's indentation is that of its first line, less what belongs to the text.
    const own = /^ */.exec(String(node.value).replace(/^\n+/, ''))![0].length;
    const indentation = /^ */.exec(indented)![0].length - own;
    return `${this.#file}:${line}:${indentation + inside.column}`;
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }
}

function isEmpty({ contents }: Document.Parsed): boolean {
  return contents === null || (isScalar(contents) && contents.value === null);
}

function startOf(document: Document.Parsed): number {
  return (document.contents as Node | null)?.range?.[0] ?? document.range[0];
}

/** `labels: {release: 1.20}` means "1.20", not 1.2. */
function keepWrittenTexts(document: Document): void {
  visit(document, {
    Scalar(place, node: Scalar, path) {
      const parents = path.filter(isPair).map((pair) => (isScalar(pair.key) ? String(pair.key.value) : ''));
      const wanted = textKeys.has(parents.at(-1) ?? '') || textMappings.has(parents.at(-2) ?? '');
      if (wanted && place !== 'key' && ['number', 'boolean'].includes(typeof node.value)) node.value = node.source;
    },
  });
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(entries.map(([key, member]) => [key, withoutNulls(member)]));
}

/** The place of an error of the `yaml` package inside the text that it read. */
export function positionOf(text: string, offset: number): Position {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: before.at(-1)!.length + 1 };
}

/**
 * Patches go to programs that read YAML 1.1, where a plain `yes` or `off` is a boolean. Only these: YAML 1.1 as a whole
 * would also make numbers of `10:30`, which Go does not.
 */
export function readBooleansAsGo(document: Document): void {
  visit(document, {
    Scalar(place, node) {
      if (place === 'key' || node.type !== 'PLAIN' || typeof node.value !== 'string') return;
      if (/^(yes|Yes|YES|on|On|ON)$/.test(node.value)) node.value = true;
      else if (/^(no|No|NO|off|Off|OFF)$/.test(node.value)) node.value = false;
    },
  });
}

/** Whether a parsed document is a mapping. */
export const isMapping = (document: Document): boolean => isMap(document.contents);
