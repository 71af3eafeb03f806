/**
 * Arguments of components: a mapping up to v1beta3, a list of `{name, value}` since v1beta4. Patches may use either form
 * with either version, because the version depends on the Kubernetes version of the image.
 */
import { isObject, type Json, type JsonObject } from '../config/merge.ts';
import type { KubeadmApi } from './api.ts';

/** The keys of arguments anywhere in the documents of kubeadm. */
const argumentKeys = new Set(['extraArgs', 'kubeletExtraArgs']);
export const holdsArguments = (key: string): boolean => argumentKeys.has(key);

/** One entry per value; a list may contain a name several times. `null` removes an argument. */
export type Arguments = readonly (readonly [name: string, value: string | null])[];
type ArgumentForm = 'map' | 'list';

export const formOf = (api: KubeadmApi): ArgumentForm => (api === 'v1beta4' ? 'list' : 'map');

/** Throws an `Error` if `value` has neither form. */
export function readArguments(value: Json): Arguments {
  if (isObject(value)) return Object.entries(value).map(([name, text]) => [name, asText(name, text)] as const);
  if (!Array.isArray(value)) throw new Error('arguments must be a mapping or a list of {name, value}');
  return value.map((entry: Json) => {
    if (!isObject(entry) || typeof entry.name !== 'string')
      throw new Error('each argument in a list must have a name and a value');
    return [entry.name, asText(entry.name, entry.value ?? null)] as const;
  });
}

/** Throws an `Error` for a mapping with several values of a name. */
export function writeArguments(entries: Arguments, form: ArgumentForm): Json {
  const present = entries.filter((entry): entry is readonly [string, string] => entry[1] !== null);
  if (form === 'list') return present.map(([name, value]) => ({ name, value }));
  const twice = present.find(([name], i) => present.findIndex(([other]) => other === name) !== i);
  if (twice) throw new Error(`argument ${twice[0]} has several values, which only v1beta4 supports`);
  return Object.fromEntries(present);
}

/** Names in `patch` replace all values of the same names in `target`. */
export function mergeArguments(target: Arguments, patch: Arguments): Arguments {
  const changed = new Set(patch.map(([name]) => name));
  return [...target.filter(([name]) => !changed.has(name)), ...patch];
}

/** Converts all arguments of a document to one form. */
export function withArguments(document: Json, form: ArgumentForm): Json {
  if (Array.isArray(document)) return document.map((item) => withArguments(item, form));
  if (!isObject(document)) return document;
  const entries = Object.entries(document).map(([key, value]): [string, Json] => [
    key,
    holdsArguments(key) && value !== null ? writeArguments(readArguments(value), form) : withArguments(value, form),
  ]);
  return Object.fromEntries(entries) as JsonObject;
}

/** The API only has strings; `v: 4` in a patch means "4". */
function asText(name: string, value: Json | undefined): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'object') throw new Error(`the value of argument ${name} is not a string`);
  return String(value);
}
