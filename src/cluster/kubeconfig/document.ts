/**
 * A kubeconfig as a document to edit: what is not touched stays as it is, unknown fields, comments and order included.
 * Such a file is years of a person's work, so the rule is to refuse whatever is not understood, and to look at the
 * result before it is used: text that does not read back as what was meant is never handed out.
 *
 * The shape is client-go's (tools/clientcmd/api/v1): three lists of entries with a name. kubectl writes YAML; a file in
 * JSON, which it reads as well, stays JSON.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Document, isAlias, isMap, isScalar, isSeq, parseDocument, type YAMLMap, YAMLSeq } from 'yaml';
import { KinaError } from '../../host/errors.ts';

/** The lists of a kubeconfig, and under which key their entries keep what they are about. */
export const sections = { clusters: 'cluster', contexts: 'context', users: 'user' } as const;
const sectionNames = Object.keys(sections) as (keyof typeof sections)[];

/** A kubeconfig's document whose root is a map and whose lists are lists. */
export interface Kubeconfig {
  readonly document: Document;
  readonly root: YAMLMap;
  /** As it was read. */
  readonly text: string;
  /** What errors call it. */
  readonly origin: string;
}

const reading = { intAsBigInt: true, prettyErrors: true } as const;

/** Empty text is an empty kubeconfig. Throws `kubeconfig` for anything that kubectl would not read as one. */
export function parseKubeconfig(text: string, origin: string): Kubeconfig {
  const refuse = (reason: string) =>
    new KinaError('kubeconfig', `${origin} is not a kubeconfig: ${reason}`, {
      hint: 'kina leaves it as it is. Correct it, or name another file with --kubeconfig or KUBECONFIG.',
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

/** The entries of a section that are called `name`; all of them without a name. */
export function entriesOf({ root }: Kubeconfig, section: keyof typeof sections, name?: string): YAMLMap[] {
  const list = root.get(section, true);
  const maps = isSeq(list) ? list.items.filter((item) => isMap(item)) : [];
  return name === undefined ? maps : maps.filter((entry) => entry.get('name') === name);
}

/** Takes over all entries of `other`, each in the place of its namesake if there is one, and its current context. */
export function mergeInto(config: Kubeconfig, other: Kubeconfig): void {
  const { root } = config;
  for (const [key, value] of [['apiVersion', 'v1'] as const, ['kind', 'Config'] as const])
    if ((root.get(key) ?? null) === null) root.set(key, value);
  for (const section of sectionNames)
    for (const entry of entriesOf(other, section)) {
      const [namesake, ...more] = entriesOf(config, section, String(entry.get('name')));
      if (namesake) replaceBody(namesake, entry, sections[section]);
      else listOf(config, section).add(entry.clone());
      // kubectl refuses a file with two of one name.
      drop(config, section, more);
    }
  const current = other.root.get('current-context');
  if (current) root.set('current-context', current);
}

/** Removes the cluster, the user and the context of this name. False when there was nothing to remove. */
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

/** The document as text. Throws `kubeconfig` when that would not say what the document says. */
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
  throw unwritable(origin, 'the result would not read back as what it should be');
}

function unwritable(origin: string, reason: string, cause?: unknown): KinaError {
  return new KinaError('kubeconfig', `${origin} cannot be edited: ${reason}`, {
    hint: 'kina leaves it as it is. YAML anchors are the usual reason; write it plainly with kubectl config view --raw.',
    cause,
  });
}

/** Anything else an entry holds, and comments on keys that stay, are the person's own. */
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
    // A scalar's comment is the one at the end of its line.
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

/** How a JSON file is indented; undefined when it is YAML. */
function jsonIndent(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  return /^\{\r?\n([ \t]+)/.exec(text.trimStart())?.[1] ?? '';
}

/** Whether lists stand deeper than their key. kubectl's do not, other people's often do. */
function indentsLists(root: YAMLMap, text: string): boolean {
  for (const { value } of root.items) {
    const start = isSeq(value) && !value.flow ? value.range?.[0] : undefined;
    if (start !== undefined) return text.lastIndexOf('\n', start - 1) + 1 !== start;
  }
  return false;
}
