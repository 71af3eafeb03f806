/**
 * Parses the patches in a cluster file. Syntax errors, unknown kinds and invalid operations are found before anything is
 * created; whether a patch applies depends on the Kubernetes version.
 */
import type { Operation } from 'rfc6902';
import { parse as parseToml, TomlError } from 'smol-toml';
import { didYouMean } from '../../host/suggest.ts';
import { isObject } from './merge.ts';
import type { Patch, Patch6902 } from './model.ts';
import type { ClusterText } from './text.ts';
import { type Position, positionOf, readBooleansAsGo, readYaml } from './yaml.ts';

/** The documents that kina writes for kubeadm. */
export const kubeadmKinds = [
  'ClusterConfiguration',
  'InitConfiguration',
  'JoinConfiguration',
  'KubeletConfiguration',
  'KubeProxyConfiguration',
] as const;

const operations: Readonly<Record<string, readonly string[]>> = {
  add: ['value'],
  replace: ['value'],
  test: ['value'],
  remove: [],
  move: ['from'],
  copy: ['from'],
};

/** Receives lines `FILE:LINE:COLUMN: what`. */
type Report = (line: string) => void;

/** One `kubeadmConfigPatches` string: one or more YAML documents. */
export function parseMergePatches(
  patch: string,
  path: readonly PropertyKey[],
  text: ClusterText,
  report: Report,
): Patch[] {
  const at = (position?: Position) => text.locate(path, position);
  const documents = readYaml(patch, { change: readBooleansAsGo });
  if (documents.length === 0) report(`${at()}: the patch is empty`);
  return documents.flatMap(({ value: content, errors, start: offset }): Patch[] => {
    const start = positionOf(patch, offset);
    for (const error of errors) report(`${at(positionOf(patch, error.offset))}: invalid patch: ${error.message}`);
    if (errors.length > 0) return [];
    if (!isObject(content)) {
      report(`${at(start)}: the patch is not a mapping such as "kind: ClusterConfiguration"`);
      return [];
    }
    const { kind, apiVersion, ...value } = content;
    if (!isKind(kind, at(start), report)) return [];
    if (apiVersion !== undefined && typeof apiVersion !== 'string') {
      report(`${at(start)}: apiVersion: expected a string such as kubeadm.k8s.io/v1beta3`);
      return [];
    }
    return [{ kind, ...(apiVersion === undefined ? {} : { apiVersion }), value, where: at(start) }];
  });
}

/** One entry of `kubeadmConfigPatchesJSON6902`. */
export function parseJsonPatch(
  entry: { group?: string | undefined; version?: string | undefined; kind: string; patch: string },
  path: readonly PropertyKey[],
  text: ClusterText,
  report: Report,
): Patch6902[] {
  const known = isKind(entry.kind, text.locate([...path, 'kind']), report);
  const list = parseOperations(entry.patch, (line, position) =>
    report(`${text.locate([...path, 'patch'], position)}: ${line}`),
  );
  if (!known || !list) return [];
  const apiVersion = [entry.group, entry.version].filter(Boolean).join('/');
  const where = text.locate([...path, 'patch']);
  return [{ kind: entry.kind, ...(apiVersion ? { apiVersion } : {}), operations: list, where }];
}

/** RFC 6902 in YAML or JSON. Undefined if a problem was reported. */
export function parseOperations(
  patch: string,
  report: (what: string, position?: Position) => void,
): Operation[] | undefined {
  const [only, ...others] = readYaml(patch, { change: readBooleansAsGo });
  for (const error of only?.errors ?? []) report(`invalid patch: ${error.message}`, positionOf(patch, error.offset));
  for (const { start } of others) report('a JSON patch must be a single document', positionOf(patch, start));
  if ((only?.errors.length ?? 0) + others.length > 0) return undefined;
  const list = only?.value;
  if (!Array.isArray(list) || list.length === 0) {
    report('a JSON patch must be a list of operations such as {op: add, path: /x, value: 1}');
    return undefined;
  }
  const problems = list.flatMap((operation, i) => {
    const problem = operationProblem(operation);
    const offset = (only?.document.getIn([i], true) as { range?: [number] } | undefined)?.range?.[0] ?? 0;
    return problem ? [{ what: `operation ${i + 1}: ${problem}`, position: positionOf(patch, offset) }] : [];
  });
  for (const { what, position } of problems) report(what, position);
  return problems.length > 0 ? undefined : list;
}

function operationProblem(operation: unknown): string | undefined {
  if (!isObject(operation)) return 'expected a mapping with op and path';
  const { op, path } = operation;
  const needs = typeof op === 'string' ? operations[op] : undefined;
  if (!needs) {
    const known = Object.keys(operations);
    return `op: expected one of ${known.join(', ')}${typeof op === 'string' ? didYouMean(op, known) : ''}`;
  }
  for (const key of ['path', ...needs]) if (!(key in operation)) return `${String(op)} needs ${JSON.stringify(key)}`;
  for (const pointer of [path, ...(needs.includes('from') ? [operation.from] : [])])
    if (typeof pointer !== 'string' || !/^(\/([^~]|~[01])*)?$/.test(pointer))
      return `invalid JSON pointer ${JSON.stringify(pointer)}: expected one such as /apiServer/certSANs/-`;
  return undefined;
}

/** TOML of one `containerdConfigPatches` string. */
export function checkToml(patch: string, path: readonly PropertyKey[], text: ClusterText, report: Report): void {
  try {
    parseToml(patch);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const why = error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    report(`${text.locate(path, { line: error.line, column: error.column })}: invalid patch: ${why}`);
  }
}

function isKind(kind: unknown, where: string, report: Report): kind is string {
  if (typeof kind === 'string' && (kubeadmKinds as readonly string[]).includes(kind)) return true;
  const what = kind === undefined ? 'the patch has no kind' : `unknown kind ${JSON.stringify(kind)}`;
  const near = typeof kind === 'string' ? didYouMean(kind, kubeadmKinds) : '';
  report(`${where}: ${what}${near} (known: ${kubeadmKinds.join(', ')})`);
  return false;
}
