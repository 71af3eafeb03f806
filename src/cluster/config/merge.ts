/**
 * Merge patches (RFC 7386) and JSON patches (RFC 6902). Both return a new document and do not change the old one: the same
 * documents are patched for every node.
 */
import { applyPatch, type Operation } from 'rfc6902';

export type Json = null | boolean | number | bigint | string | Date | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** Merges a key in a special way. Returns undefined to merge it by the RFC. `target` is undefined for a new key. */
export type MergeRule = (key: string, target: Json | undefined, patch: Json) => Json | undefined;

/**
 * RFC 7386: objects are merged key by key, `null` removes, anything else replaces.
 *
 *     mergePatch({ a: { b: 1, c: 2 } }, { a: { b: null } })   // { a: { c: 2 } }
 */
export function mergePatch(target: Json | undefined, patch: Json, rule?: MergeRule): Json {
  if (!isObject(patch)) return patch;
  // A Map, because a key may be `__proto__`.
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, rule?.(key, merged.get(key), value) ?? mergePatch(merged.get(key), value, rule));
  }
  return Object.fromEntries(merged);
}

/** Applies RFC 6902. Throws an `Error` that names the operation that failed. */
export function jsonPatch(document: Json, operations: readonly Operation[]): Json {
  const root = { document: structuredClone(document) };
  for (const [i, operation] of operations.entries()) {
    // The library cannot replace a whole document, which the RFC allows, so the document is a member of `root`.
    const moved = { ...operation, path: `/document${operation.path}` };
    if ('from' in moved) moved.from = `/document${moved.from}`;
    const [failure] = applyPatch(root, [moved]);
    if (failure === null) continue;
    const why =
      failure?.name === 'TestError'
        ? 'the test fails'
        : failure?.name === 'MissingError'
          ? 'path not found'
          : 'not a valid operation';
    throw new Error(`operation ${i + 1} (${operation.op} ${JSON.stringify(operation.path)}): ${why}`);
  }
  return root.document;
}

/** A mapping, as opposed to a list, a date or a scalar. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
