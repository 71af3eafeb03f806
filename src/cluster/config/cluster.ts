/**
 * Loads and validates the configuration of a cluster. All problems are reported in one error with a line each. Problems
 * that depend on the Kubernetes version are found later, by `checkPatches` (kubeadm/documents.ts).
 */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Problem, problemsOf } from '../../host/diagnose.ts';
import { isErrno, KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import type { Cluster } from './model.ts';
import { checkToml, parseJsonPatch, parseMergePatches, parseOperations } from './parse-patches.ts';
import { clusterName, type NodePatches, nodeNames, resolveCluster } from './resolve.ts';
import { type ClusterFile, formats } from './schema.ts';
import { ClusterText } from './text.ts';
import {
  controlPlaneProblems,
  labelProblems,
  mountProblems,
  nameProblem,
  nameWarning,
  portProblems,
  subnetProblems,
} from './validate.ts';

export type { Cluster, IpFamily, NodeConfig } from './model.ts';

export interface LoadOptions {
  /** Text of the file, e.g. from standard input. `file` is then only its name in messages. */
  readonly text?: string | undefined;
  /** Path of the file. Without `text` and `file` everything has its default. */
  readonly file?: string | undefined;
  readonly overrides: {
    readonly name?: string | undefined;
    /** Image of all nodes, also of those that name one. The same applies to kernel and Rosetta. */
    readonly image?: string | undefined;
    readonly kernel?: string | undefined;
    readonly rosetta?: boolean | undefined;
    readonly allowEvenControlPlanes?: boolean | undefined;
  };
  /** Base of relative paths in the file, as in kind. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Throws `config` with all problems as details `FILE:LINE:COLUMN: what`, or `not-found` for a missing file. */
export function loadCluster(options: LoadOptions): Cluster {
  const given = options.text ?? (options.file === undefined ? undefined : read(resolve(options.cwd, options.file)));
  const label = options.file ?? 'config';
  const text = new ClusterText(given ?? 'kind: Cluster\napiVersion: kina.dev/v1alpha1\n', label);
  if (text.syntaxErrors.length > 0) throw invalid(label, text.syntaxErrors);
  const { content } = text;
  const version = (content as { apiVersion?: unknown } | undefined)?.apiVersion;
  const schema = formats[version as keyof typeof formats];
  if (!schema) throw invalid(label, [`${text.locate(['apiVersion'])}: ${unknownFormat(version)}`]);

  const parsed = schema.safeParse(content);
  const problems: Problem[] = parsed.success ? [] : problemsOf(parsed.error, schema).map(otherFormat);
  // Further checks run without the invalid values, so that all problems are reported together.
  const file = (parsed.success ? parsed : schema.safeParse(without(content, problems))).data as ClusterFile | undefined;
  const lines: string[] = [];
  const patches = parsePatches(file, text, (line) => lines.push(line));
  const cluster = file && resolveCluster(file, patches, options);
  if (file && cluster) problems.push(...check(file, cluster, problems, options));
  lines.push(...text.source.formatAll(problems.filter(({ path }) => path[0] !== outside)));
  lines.push(...problems.filter(({ path }) => path[0] === outside).map(({ message }) => message));
  if (lines.length > 0 || !cluster) throw invalid(label, lines.sort(byPlace));
  const warning = nameWarning(cluster.name, nodeNames(cluster));
  return warning ? { ...cluster, warnings: [...cluster.warnings, warning] } : cluster;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const absent = isErrno(error, 'ENOENT', 'ENOTDIR');
    throw new KinaError(
      absent ? 'not-found' : 'config',
      absent ? `cluster configuration not found: ${path}` : `cannot read ${path}: ${(error as Error).message}`,
      { hint: 'Pass the path of a YAML file, or - for standard input.', cause: error },
    );
  }
}

/** First element of the path of problems that are not in the file. */
const outside = Symbol('outside the file');

/** Checks the cluster as a whole. `found` are the problems that the schema has reported. */
function check(file: ClusterFile, cluster: Cluster, found: readonly Problem[], options: LoadOptions): Problem[] {
  const wrong = (...keys: string[]) => found.some(({ path, key }) => keys.includes(String(key ?? path.at(-1))));
  const nodes = file.nodes ?? [{}];
  const { name, from } = clusterName(file, options);
  const bad = nameProblem(name, nodeNames(cluster));
  return [
    ...(bad ? [{ path: [from === 'name' ? 'name' : outside], message: `${from}: ${bad}` }] : []),
    // A misspelt role could be either one.
    ...(wrong('role') ? [] : controlPlaneProblems(nodes, options.overrides.allowEvenControlPlanes ?? false)),
    ...(wrong('ipFamily', 'podSubnet', 'serviceSubnet') ? [] : subnetProblems(cluster.networking)),
    ...nodes.flatMap((node, i) => [...mountProblems(node, ['nodes', i]), ...labelProblems(node, ['nodes', i])]),
    ...portProblems(cluster.nodes, cluster.networking),
    ...fileProblems(file, cluster, options.overrides.kernel !== undefined),
  ];
}

/** Files that do not exist, and contradicting settings of the CNI. */
function fileProblems(file: ClusterFile, { networking, nodes }: Cluster, kernelForAll: boolean): Problem[] {
  const problems: Problem[] = [];
  const { cni, disableDefaultCNI } = file.networking ?? {};
  if (disableDefaultCNI && cni !== undefined && cni !== 'none')
    problems.push({ path: ['networking', 'cni'], message: `cni: ${cni} contradicts disableDefaultCNI: true` });
  if (typeof networking.cni === 'object' && !isFile(networking.cni.file))
    problems.push({ path: ['networking', 'cni'], message: `cni: file not found: ${networking.cni.file}` });
  const kernels = kernelForAll ? nodes.slice(0, 1) : nodes;
  for (const [i, { kernel }] of kernels.entries()) {
    if (kernel === undefined || isFile(kernel)) continue;
    if (kernelForAll) problems.push({ path: [outside], message: `--kernel: file not found: ${kernel}` });
    else problems.push({ path: ['nodes', i, 'kernel'], message: `kernel: file not found: ${kernel}` });
  }
  return problems;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Parses the patches of the cluster and of each node, and checks the syntax of those for containerd. */
function parsePatches(file: ClusterFile | undefined, text: ClusterText, report: (line: string) => void): NodePatches[] {
  for (const [i, patch] of (file?.containerdConfigPatches ?? []).entries())
    checkToml(patch, ['containerdConfigPatches', i], text, report);
  for (const [i, patch] of (file?.containerdConfigPatchesJSON6902 ?? []).entries())
    parseOperations(patch, (what, at) => report(`${text.locate(['containerdConfigPatchesJSON6902', i], at)}: ${what}`));
  const places = [
    { owner: file, path: [] as PropertyKey[] },
    ...(file?.nodes ?? []).map((owner, i) => ({ owner, path: ['nodes', i] })),
  ];
  return places.map(({ owner, path }) => ({
    kubeadmPatches: (owner?.kubeadmConfigPatches ?? []).flatMap((patch, i) =>
      parseMergePatches(patch, [...path, 'kubeadmConfigPatches', i], text, report),
    ),
    kubeadmPatches6902: (owner?.kubeadmConfigPatchesJSON6902 ?? []).flatMap((entry, i) =>
      parseJsonPatch(entry, [...path, 'kubeadmConfigPatchesJSON6902', i], text, report),
    ),
  }));
}

function unknownFormat(version: unknown): string {
  const known = Object.keys(formats);
  if (version === undefined) return `apiVersion is missing: expected ${known.join(' or ')}, with kind: Cluster`;
  return `unknown apiVersion ${JSON.stringify(version)}${didYouMean(String(version), known)} (known: ${known.join(', ')})`;
}

const kinaOnly = new Set(['provider', 'cni', 'mtu', 'cpus', 'memory', 'disk', 'kernel', 'kernelArguments', 'rosetta']);

/** Explains a key of kina's format in a file of kind's format. */
function otherFormat(problem: Problem): Problem {
  if (!problem.key || !kinaOnly.has(problem.key) || !problem.message.startsWith('unknown key')) return problem;
  return {
    ...problem,
    message: `${problem.key} needs apiVersion: kina.dev/v1alpha1, which also has all keys of kind`,
  };
}

/** Lists that are removed as a whole for a problem inside: without one key an entry may be invalid. */
const lists = /^(extraMounts|extraPortMappings|.*Patches(JSON6902)?)$/;

/** The content without the values that have problems. */
function without(content: unknown, problems: readonly Problem[]): unknown {
  const copy = structuredClone(content);
  for (const { path, key } of problems) {
    const full = key === undefined ? path : [...path, key];
    const list = full.findIndex((segment) => lists.test(String(segment)));
    const place = list < 0 ? full : full.slice(0, list + 1);
    let parent = copy as Record<PropertyKey, unknown> | undefined;
    for (const segment of place.slice(0, -1)) parent = parent?.[segment] as Record<PropertyKey, unknown> | undefined;
    if (parent && !Array.isArray(parent) && typeof parent === 'object') delete parent[place.at(-1)!];
  }
  return copy;
}

/** Orders by line and column; lines without a position come first. */
function byPlace(a: string, b: string): number {
  const [one, two] = [a, b].map((line) => /:(\d+):(\d+): /.exec(line)?.slice(1).map(Number) ?? [0, 0]);
  return one![0]! - two![0]! || one![1]! - two![1]!;
}

function invalid(label: string, details: readonly string[]): KinaError {
  const count = `${details.length} problem${details.length === 1 ? '' : 's'}`;
  return new KinaError('config', `${label} is not a valid cluster configuration (${count})`, { details });
}
