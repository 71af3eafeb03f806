/** Parses a cluster file and locates its values, also lines of patches that are block scalars in the file. */
import { type Document, isPair, isScalar, LineCounter, parseDocument, type Scalar, visit } from 'yaml';
import { Source } from '../../host/diagnose.ts';
import { type Position, readYaml } from './yaml.ts';

/** Mappings whose values are strings in kind, and single keys whose strings are often written as numbers. */
const textMappings = new Set(['labels', 'runtimeConfig']);
const textKeys = new Set(['name', 'version']);

export class ClusterText {
  readonly source: Source;
  /** The content without `null` values, which Go's decoder ignores. Undefined for an empty file. */
  readonly content: unknown;
  /** Lines `FILE:LINE:COLUMN: why`. */
  readonly syntaxErrors: readonly string[];
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #text: string;
  readonly #file: string;

  constructor(text: string, file: string) {
    this.#lines = new LineCounter();
    this.#text = text;
    this.#file = file;
    const [first, ...others] = readYaml(text, { lines: this.#lines, change: keepWrittenTexts });
    this.#document = first?.document ?? (parseDocument('{}') as Document.Parsed);
    this.source = new Source(file, this.#document, this.#lines);
    this.syntaxErrors = [
      ...[first, ...others].flatMap((each) => each?.errors ?? []).map((e) => `${this.#at(e.offset)}: ${e.message}`),
      ...others.map(({ start }) => `${this.#at(start)}: unexpected second YAML document: a file describes one cluster`),
    ];
    this.content = withoutNulls(first?.value);
  }

  /** `FILE:LINE:COLUMN` of `inside` in the string at `path`; of the string itself unless it is a block scalar (`|`). */
  locate(path: readonly PropertyKey[], inside: Position = { line: 1, column: 1 }): string {
    const node = this.#document.getIn(path, true);
    if (!isScalar(node) || node.type !== 'BLOCK_LITERAL' || !node.range) return this.source.locate(path);
    const first = this.#lines.linePos(node.range[0]).line + 1;
    const line = first + inside.line - 1;
    const written = this.#text.split('\n').slice(first - 1, line);
    const indented = written.find((text) => text.trim() !== '') ?? '';
    // The indentation of the block is that of its first line minus the part that belongs to the string.
    const own = /^ */.exec(String(node.value).replace(/^\n+/, ''))![0].length;
    const indentation = /^ */.exec(indented)![0].length - own;
    return `${this.#file}:${line}:${indentation + inside.column}`;
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }
}

/** `labels: {release: 1.20, ready: }` means "1.20", not 1.2, and "". */
function keepWrittenTexts(document: Document): void {
  visit(document, {
    Scalar(place, node: Scalar, path) {
      if (place === 'key') return;
      const parents = path.filter(isPair).map((pair) => (isScalar(pair.key) ? String(pair.key.value) : ''));
      const inMapping = textMappings.has(parents.at(-2) ?? '');
      if (inMapping && node.value === null) node.value = '';
      if (!inMapping && !textKeys.has(parents.at(-1) ?? '')) return;
      if (['number', 'boolean'].includes(typeof node.value)) node.value = node.source;
    },
  });
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(entries.map(([key, member]) => [key, withoutNulls(member)]));
}
