/** Parses YAML with several documents, and reports the errors of each. */
import { type Document, isScalar, type LineCounter, type Node, parseAllDocuments, visit } from 'yaml';

/** A position in a text; both numbers start at 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface YamlDocument {
  readonly document: Document.Parsed;
  /** Undefined if there are errors. */
  readonly value: unknown;
  readonly errors: readonly { readonly message: string; readonly offset: number }[];
  /** Offset of the content. */
  readonly start: number;
}

export interface YamlOptions {
  readonly lines?: LineCounter;
  /** Called before the nodes become a value, to change them. */
  readonly change?: (document: Document) => void;
}

/** Empty documents (after a `---` at the end of a file) are skipped. */
export function readYaml(text: string, { lines, change }: YamlOptions = {}): YamlDocument[] {
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
        // aliases that expand without limit
        return { document, value: undefined, errors: [{ message: reason(error as Error), offset: start }], start };
      }
    });
}

/** The position of an offset in a text. */
export function positionOf(text: string, offset: number): Position {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: before.at(-1)!.length + 1 };
}

/**
 * Decodes plain `yes`, `off` and so on as booleans. Patches are for programs that read YAML 1.1, but YAML 1.1 as a whole
 * would also decode `10:30` as a number, which Go does not.
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

/** The `yaml` package would only throw for these when it creates the value. */
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

/** The message of the package without its position, which is not that in the file. */
function reason(error: Error): string {
  return error.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
}
