/** YAML of people: every document of a text with its value, or with what keeps it from having one. */
import { type Document, isScalar, type LineCounter, type Node, parseAllDocuments, visit } from 'yaml';

/** A place inside a text, both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface YamlDocument {
  readonly document: Document.Parsed;
  /** `undefined` when there are errors. */
  readonly value: unknown;
  readonly errors: readonly { readonly message: string; readonly offset: number }[];
  /** Offset of its content. */
  readonly start: number;
}

export interface ReadOptions {
  readonly lines?: LineCounter;
  /** Changes the nodes before they become a value. */
  readonly change?: (document: Document) => void;
}

/** Documents that say nothing (after a `---` at the end of a file) are left out. */
export function readYaml(text: string, { lines, change }: ReadOptions = {}): YamlDocument[] {
  const parsed = parseAllDocuments(text, {
    ...(lines ? { lineCounter: lines } : {}),
    uniqueKeys: true,
    version: '1.2',
    merge: true,
  });
  const documents: Document.Parsed[] = 'empty' in parsed ? [] : parsed;
  return documents
    .filter((document) => !isEmpty(document) || document.errors.length > 0)
    .map((document) => {
      const start = (document.contents as Node | null)?.range?.[0] ?? document.range[0];
      const errors = [
        ...document.errors.map((e) => ({ message: reason(e), offset: e.pos[0] })),
        ...badAliases(document),
      ];
      if (errors.length > 0) return { document, value: undefined, errors, start };
      change?.(document);
      try {
        return { document, value: document.toJS(), errors, start };
      } catch (error) {
        // aliases of aliases that would grow without limit
        return { document, value: undefined, errors: [{ message: reason(error as Error), offset: start }], start };
      }
    });
}

/** The place of an offset in a text. */
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

/** The `yaml` package finds these only when it makes the value, and then throws. */
function badAliases(document: Document.Parsed): { message: string; offset: number }[] {
  const found: { message: string; offset: number }[] = [];
  visit(document, {
    Alias(_place, node) {
      if (!node.resolve(document))
        found.push({
          message: `*${node.source} has no anchor &${node.source} before it`,
          offset: node.range?.[0] ?? 0,
        });
    },
  });
  return found;
}

function isEmpty({ contents }: Document.Parsed): boolean {
  return contents === null || (isScalar(contents) && contents.value === null);
}

/** The package's message without the place, which is told in words of the file. */
function reason(error: Error): string {
  return error.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
}
