/**
 * Patches the documents of kubeadm: merge patches before JSON patches, those of the cluster before those of the node, as in
 * kind. Unlike in kind, a patch without a matching document is an error.
 */
import type { Operation } from 'rfc6902';
import { isObject, type Json, type JsonObject, jsonPatch, type MergeRule, mergePatch } from '../config/merge.ts';
import type { Patch, Patch6902 } from '../config/model.ts';
import { type KubeadmApi, kubeadmGroup } from './api.ts';
import { formOf, holdsArguments, mergeArguments, readArguments, withArguments, writeArguments } from './args.ts';

export interface KubeadmDocument extends JsonObject {
  readonly apiVersion: string;
  readonly kind: string;
}

export interface Patches {
  readonly kubeadmPatches: readonly Patch[];
  readonly kubeadmPatches6902: readonly Patch6902[];
}

/** Returns the patched documents, and a line `FILE:LINE:COLUMN: what` for each patch that cannot be applied. */
export function patchDocuments(
  documents: readonly KubeadmDocument[],
  owners: readonly Patches[],
  api: KubeadmApi,
): { documents: KubeadmDocument[]; problems: string[] } {
  const result = [...documents];
  const problems: string[] = [];
  const all = owners.flatMap((owner) => [...owner.kubeadmPatches, ...owner.kubeadmPatches6902]);
  for (const patch of all) {
    const index = result.findIndex((document) => matches(patch, document));
    if (index < 0) {
      if (!hasAlternative(patch, all, result)) problems.push(`${patch.where}: ${noMatch(patch, documents)}`);
      continue;
    }
    try {
      const target = result[index]!;
      const patched = 'value' in patch ? merge(target, patch.value, api) : edit(target, patch.operations, api);
      const same = isObject(patched) && patched.kind === target.kind && patched.apiVersion === target.apiVersion;
      if (!same) throw new Error('a patch cannot change kind or apiVersion');
      result[index] = patched as KubeadmDocument;
    } catch (error) {
      problems.push(`${patch.where}: the patch of ${patch.kind} cannot be applied: ${(error as Error).message}`);
    }
  }
  return { documents: result, problems };
}

/** A group without a version (in JSON patches) matches every version. */
function matches({ kind, apiVersion }: Pick<Patch, 'kind' | 'apiVersion'>, document: KubeadmDocument): boolean {
  if (kind !== document.kind) return false;
  if (apiVersion === undefined || apiVersion === document.apiVersion) return true;
  const [group, version] = document.apiVersion.split('/');
  return apiVersion === group || apiVersion === version;
}

/** Files may contain a patch once for each API version; only one of them needs to match. */
function hasAlternative(
  patch: Patch | Patch6902,
  all: readonly (Patch | Patch6902)[],
  documents: readonly KubeadmDocument[],
): boolean {
  if (!patch.apiVersion?.startsWith(`${kubeadmGroup}/`)) return false;
  const target = documents.find((document) => document.kind === patch.kind);
  return all.some(({ kind, apiVersion }) => kind === patch.kind && apiVersion === target?.apiVersion);
}

function noMatch({ kind, apiVersion }: Patch | Patch6902, documents: readonly KubeadmDocument[]): string {
  const same = documents.find((document) => document.kind === kind);
  if (!same) return `the patch has no effect: this cluster has no ${kind}`;
  return `the patch is for ${kind} ${apiVersion}, but this Kubernetes version uses ${same.apiVersion}; remove apiVersion from the patch`;
}

function merge(target: KubeadmDocument, patch: JsonObject, api: KubeadmApi): Json {
  const rule: MergeRule = (key, old, value) => {
    if (key === 'certSANs' && Array.isArray(value)) return [...new Set([...(Array.isArray(old) ? old : []), ...value])];
    if (!holdsArguments(key)) return undefined;
    return writeArguments(mergeArguments(readArguments(old ?? {}), readArguments(value)), formOf(api));
  };
  return mergePatch(target, patch, isKubeadm(target) ? rule : undefined);
}

/** A pointer into arguments implies their form: an index or `-` a list, anything else a mapping. */
function edit(target: KubeadmDocument, operations: readonly Operation[], api: KubeadmApi): Json {
  const pointers = operations.flatMap((operation) =>
    'from' in operation ? [operation.path, operation.from] : [operation.path],
  );
  const names = pointers.flatMap((pointer) => {
    const tokens = pointer.split('/');
    const at = tokens.findIndex(holdsArguments);
    return at >= 0 && tokens[at + 1] !== undefined ? [tokens[at + 1]!] : [];
  });
  if (!isKubeadm(target) || names.length === 0) {
    const patched = jsonPatch(target, operations);
    return isKubeadm(target) ? withArguments(patched, formOf(api)) : patched;
  }
  const form = names.every((name) => /^(-|\d+)$/.test(name)) ? 'list' : 'map';
  return withArguments(jsonPatch(withArguments(target, form), operations), formOf(api));
}

const isKubeadm = (document: KubeadmDocument): boolean => document.apiVersion.startsWith(`${kubeadmGroup}/`);
