/**
 * Edits a kubeconfig as a document: unknown fields, comments and order are kept. The file is valuable, so unexpected
 * content is refused, and the result is parsed and compared before it is used.
 *
 * The structure is that of client-go (tools/clientcmd/api/v1): three lists of named entries. A file in JSON, which kubectl
 * also reads, stays JSON.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Document, isAlias, isMap, isScalar, isSeq, parseDocument, type YAMLMap, YAMLSeq } from 'yaml';
import { KinaError } from '../../host/errors.ts';

/** The lists of a kubeconfig, and the key with the body of their entries. */
export const sections = { clusters: 'cluster', contexts: 'context', users: 'user' } as const;
const sectionNames = Object.keys(sections) as (keyof typeof sections)[];

/** A kubeconfig with the expected structure. */
export interface Kubeconfig {
  readonly document: Document;
  readonly root: YAMLMap;
  /** The original text. */
  readonly text: string;
  /** Its name in errors. */
  readonly origin: string;
}

const reading = { intAsBigInt: true, prettyErrors: true } as const;

/** An empty text is an empty kubeconfig. Throws `kubeconfig` if kubectl could not read it. */
export function parseKubeconfig(text: string, origin: string): Kubeconfig {
  const refuse = (reason: string) =>
    new KinaError('kubeconfig', `${origin} is not a kubeconfig: ${reason}`, {
      hint: 'kina did not change it. Correct it, or use another file with --kubeconfig or KUBECONFIG.',
    });
  const document = parseDocument(text, reading);
  const [error] = document.errors;
  if (error) throw refuse(error.message.split('\n')[0]!.replace(/:$/, ''));
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    const { commentBefore } = document.contents ?? {};
    document.contents = document.createNode({}) as never;
    if (commentBefore) document.commentBefore ??= commentBefore;
  }
  const root: unknown = document.contents;
  if (!isMap(root)) throw refuse('it is not a map');
  const kind = root.get('kind') ?? 'Config';
  const version = root.get('apiVersion') ?? 'v1';
  if (kind !== 'Config' || version !== 'v1') throw refuse(`it is ${kind} ${version}, not Config v1`);
  for (const section of sectionNames) {
    const list = root.get(section, true);
    if (list === undefined || (isScalar(list) && list.value === null)) continue;
    if (!isSeq(list)) throw refuse(`${section} is not a list`);
    for (const entry of list.items)
      if (!isMap(entry) && !isAlias(entry)) throw refuse(`an entry of ${section} is not a map`);
  }
  return { document: document as unknown as Document, root, text, origin };
}

/** The entries of a section with the name `name`, or all entries. */
export function entriesOf({ root }: Kubeconfig, section: keyof typeof sections, name?: string): YAMLMap[] {
  const list = root.get(section, true);
  const maps = isSeq(list) ? list.items.filter((item) => isMap(item)) : [];
  return name === undefined ? maps : maps.filter((entry) => entry.get('name') === name);
}

/** Adds all entries of `other`, replacing those of the same name, and sets its current context. */
export function mergeInto(config: Kubeconfig, other: Kubeconfig): void {
  const { root } = config;
  for (const [key, value] of [['apiVersion', 'v1'] as const, ['kind', 'Config'] as const])
    if ((root.get(key) ?? null) === null) root.set(key, value);
  for (const section of sectionNames)
    for (const entry of entriesOf(other, section)) {
      const [namesake, ...more] = entriesOf(config, section, String(entry.get('name')));
      if (namesake) replaceBody(namesake, entry, sections[section]);
      else listOf(config, section).add(entry.clone());
      // kubectl refuses duplicate names.
      drop(config, section, more);
    }
  const current = other.root.get('current-context');
  if (current) root.set('current-context', current);
}

/** Removes the cluster, user and context of this name. Returns false if there are none. */
export function removeFrom(config: Kubeconfig, name: string): boolean {
  let changed = false;
  for (const section of sectionNames) {
    const found = entriesOf(config, section, name);
    drop(config, section, found);
    changed ||= found.length > 0;
  }
  if (config.root.get('current-context') !== name) return changed;
  config.root.set('current-context', '');
  return true;
}

/** The document as text. Throws `kubeconfig` if the text does not parse to the same content. */
export function kubeconfigText({ document, root, text, origin }: Kubeconfig): string {
  try {
    const wanted: unknown = document.toJS();
    const json = jsonIndent(text);
    const result =
      json === undefined
        ? document.toString({ lineWidth: 0, indentSeq: indentsLists(root, text) })
        : `${JSON.stringify(wanted, (_key, value) => (typeof value === 'bigint' ? Number(value) : value), json)}\n`;
    const back: unknown = parseDocument(result, reading).toJS();
    if (isDeepStrictEqual(back, wanted)) return result;
  } catch (cause) {
    throw unwritable(origin, (cause as Error).message, cause);
  }
  throw unwritable(origin, 'the result would not parse to the same content');
}

function unwritable(origin: string, reason: string, cause?: unknown): KinaError {
  return new KinaError('kubeconfig', `${origin} cannot be edited: ${reason}`, {
    hint: 'kina did not change it. YAML anchors are the usual cause; rewrite it with `kubectl config view --raw`.',
    cause,
  });
}

/** Keeps other keys of the entry, and comments of keys that remain. */
function replaceBody(entry: YAMLMap, by: YAMLMap, key: string): void {
  const body = entry.get(key, true);
  const wanted = by.get(key, true);
  if (!isMap(body) || !isMap(wanted)) {
    entry.set(key, isMap(wanted) ? wanted.clone() : wanted);
    return;
  }
  const keys = new Set(wanted.items.map(({ key }) => String(key)));
  body.items = body.items.filter(({ key }) => keys.has(String(key)));
  for (const { key, value } of wanted.items) {
    const old = body.get(String(key), true);
    // keeps the comment at the end of the line
    if (isScalar(old) && isScalar(value)) old.value = value.value;
    else body.set(String(key), isMap(value) || isSeq(value) ? value.clone() : value);
  }
}

function listOf({ root }: Kubeconfig, section: keyof typeof sections): YAMLSeq {
  const list = root.get(section, true);
  if (isSeq(list)) {
    // kubectl writes an empty list as [].
    if (list.items.length === 0 && !root.flow) list.flow = false;
    return list;
  }
  const fresh = new YAMLSeq();
  root.set(section, fresh);
  return fresh;
}

function drop(config: Kubeconfig, section: keyof typeof sections, entries: readonly YAMLMap[]): void {
  if (entries.length === 0) return;
  const list = listOf(config, section);
  list.items = list.items.filter((item) => !entries.includes(item as YAMLMap));
}

/** Indentation of a JSON file; undefined for YAML. */
function jsonIndent(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  return /^\{\r?\n([ \t]+)/.exec(text.trimStart())?.[1] ?? '';
}

/** Whether list items are indented more than their key. kubectl does not indent them. */
function indentsLists(root: YAMLMap, text: string): boolean {
  for (const { value } of root.items) {
    const start = isSeq(value) && !value.flow ? value.range?.[0] : undefined;
    if (start !== undefined) return text.lastIndexOf('\n', start - 1) + 1 !== start;
  }
  return false;
}
