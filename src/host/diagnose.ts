/**
 * Turns schema problems into error lines: `FILE:LINE:COLUMN: what is wrong; did you mean "x"?`.
 * All problems of a file are reported together.
 */
import { type Document, isMap, isPair, isScalar, type LineCounter, type Node } from 'yaml';
import type { z } from 'zod';
import { didYouMean } from './suggest.ts';

export interface Problem {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** Points at this key of the mapping at `path` instead of at the mapping. */
  readonly key?: string;
  /** The allowed values; the one nearest to the given value is suggested. */
  readonly values?: readonly string[];
}

export class Source {
  readonly #document: Document;
  readonly #lines: LineCounter;
  readonly file: string;

  constructor(file: string, document: Document, lines: LineCounter) {
    this.file = file;
    this.#document = document;
    this.#lines = lines;
  }

  /** `FILE:LINE:COLUMN` of the value at `path`, or of the nearest parent that exists. */
  locate(path: readonly PropertyKey[], key?: string): string {
    const { line, col } = this.#lines.linePos(this.#offset(path, key));
    return `${this.file}:${line}:${col}`;
  }

  /** One line per problem, in the order of the file. */
  formatAll(problems: readonly Problem[]): string[] {
    const offset = (p: Problem) => this.#offset(p.path, p.key);
    return [...problems].sort((a, b) => offset(a) - offset(b)).map((p) => this.#format(p));
  }

  #format({ path, key, message, values }: Problem): string {
    const written = values && this.#document.getIn(path);
    return `${this.locate(path, key)}: ${message}${typeof written === 'string' ? didYouMean(written, values ?? []) : ''}`;
  }

  #offset(path: readonly PropertyKey[], key?: string): number {
    for (let length = path.length; length >= 0; length--) {
      const node = this.#document.getIn(path.slice(0, length), true) as Node | undefined;
      let offset = node?.range?.[0];
      if (length === path.length && key !== undefined && isMap(node)) {
        const pair = node.items.find((i) => isPair(i) && isScalar(i.key) && String(i.key.value) === key);
        const keyNode = pair?.key as Node | undefined;
        offset = keyNode?.range?.[0] ?? offset;
      }
      if (offset !== undefined) return offset;
    }
    return 0;
  }
}

/** Converts zod issues to problems and suggests known keys. `at` is where `schema` applies in the document. */
export function problemsOf(error: z.ZodError, schema: z.ZodType, at: readonly PropertyKey[] = []): Problem[] {
  const unknownAt = new Set(error.issues.filter((i) => i.code === 'unrecognized_keys').map((i) => i.path.join('/')));
  return error.issues.flatMap((issue): Problem[] => {
    // A mistyped key also triggers "give exactly one of …": report it only once.
    if (issue.code === 'custom' && unknownAt.has(issue.path.join('/'))) return [];
    const path = [...at, ...issue.path];
    const field = issue.path.length > 0 ? `${fieldName(issue.path)}: ` : '';
    if (issue.code === 'unrecognized_keys') {
      const known = knownKeys(schema, issue.path);
      return issue.keys.map((key) => ({
        path,
        key,
        message: `unknown key ${JSON.stringify(key)}${didYouMean(key, known)}${known.length ? ` (known: ${known.join(', ')})` : ''}`,
      }));
    }
    if (issue.code === 'invalid_key') {
      const key = String(issue.path.at(-1));
      return [{ path: path.slice(0, -1), key, message: `${field}${issue.issues[0]?.message ?? issue.message}` }];
    }
    if (issue.code === 'invalid_value') {
      const values = issue.values.map(String);
      return [{ path, values, message: `${field}expected one of: ${values.join(', ')}` }];
    }
    return [{ path, message: `${field}${issue.message}` }];
  });
}

/** The last key with its list index: `packages[3]`. */
function fieldName(path: readonly PropertyKey[]): string {
  const last = path.at(-1);
  return typeof last === 'number' && path.length > 1 ? `${fieldName(path.slice(0, -1))}[${last}]` : String(last);
}

/** The keys of the object schema at `path`. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let current: unknown = schema;
  for (const segment of path) current = step(unwrap(current), segment);
  const shape = (unwrap(current) as { shape?: Record<string, unknown> } | undefined)?.shape;
  return shape ? Object.keys(shape) : [];
}

interface Definition {
  def?: { innerType?: unknown; in?: unknown; element?: unknown; valueType?: unknown };
}

function unwrap(schema: unknown): unknown {
  let current = schema as Definition | undefined;
  while (current?.def?.innerType || current?.def?.in) current = (current.def.innerType ?? current.def.in) as Definition;
  return current;
}

function step(schema: unknown, segment: PropertyKey): unknown {
  const found = schema as (Definition & { shape?: Record<PropertyKey, unknown> }) | undefined;
  return found?.shape?.[segment] ?? found?.def?.element ?? found?.def?.valueType;
}
