/**
 * Arguments of components: a mapping up to v1beta3, a list of `{name, value}` from v1beta4 on. Patches may use either
 * form against either API, because people write them once and the API follows from the Kubernetes version.
 */
import { isObject, type Json, type JsonObject } from '../config/merge.ts';
import type { KubeadmApi } from './api.ts';

/** The keys that hold arguments, anywhere in kubeadm's documents. */
const argumentKeys = new Set(['extraArgs', 'kubeletExtraArgs']);
export const holdsArguments = (key: string): boolean => argumentKeys.has(key);

/** One entry per value; a list may give a name several times. `null`: to be removed. */
export type Arguments = readonly (readonly [name: string, value: string | null])[];
type Form = 'map' | 'list';

export const formOf = (api: KubeadmApi): Form => (api === 'v1beta4' ? 'list' : 'map');

/** Throws an `Error` for what is neither form. */
export function readArguments(value: Json): Arguments {
  if (isObject(value)) return Object.entries(value).map(([name, text]) => [name, asText(name, text)] as const);
  if (!Array.isArray(value)) throw new Error('arguments are a mapping, or a list of {name, value}');
  return value.map((entry: Json) => {
    if (!isObject(entry) || typeof entry.name !== 'string')
      throw new Error('each argument in a list has a name and a value');
    return [entry.name, asText(entry.name, entry.value ?? null)] as const;
  });
}

/** Throws an `Error` when a mapping cannot hold what a list can: a name with several values. */
export function writeArguments(entries: Arguments, form: Form): Json {
  const present = entries.filter((entry): entry is readonly [string, string] => entry[1] !== null);
  if (form === 'list') return present.map(([name, value]) => ({ name, value }));
  const twice = present.find(([name], i) => present.findIndex(([other]) => other === name) !== i);
  if (twice) throw new Error(`argument ${twice[0]} has several values, which only v1beta4 can say`);
  return Object.fromEntries(present);
}

/** Names in `patch` replace the same names in `target`, all values of them; others are kept. */
export function mergeArguments(target: Arguments, patch: Arguments): Arguments {
  const changed = new Set(patch.map(([name]) => name));
  return [...target.filter(([name]) => !changed.has(name)), ...patch];
}

/** The document with all arguments in one form. */
export function withArguments(document: Json, form: Form): Json {
  if (Array.isArray(document)) return document.map((item) => withArguments(item, form));
  if (!isObject(document)) return document;
  const entries = Object.entries(document).map(([key, value]): [string, Json] => [
    key,
    holdsArguments(key) && value !== null ? writeArguments(readArguments(value), form) : withArguments(value, form),
  ]);
  return Object.fromEntries(entries) as JsonObject;
}

/** The API has texts only; `v: 4` in a patch means "4". */
function asText(name: string, value: Json | undefined): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'object') throw new Error(`the value of argument ${name} is no text`);
  return String(value);
}
