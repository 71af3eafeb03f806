/** The version table: which containerd, runc, etcd … belong to a Kubernetes version. The data is `recipes/versions.yaml`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import semver from 'semver';
import { parse } from 'yaml';
import { z } from 'zod';
import { KinaError } from '../host/errors.ts';
import { recipesFolder } from './recipe/load.ts';

const facts = {
  containerd: z.string(),
  runc: z.string(),
  cni: z.string(),
  crictl: z.string(),
  cri: z.enum(['v1alpha2', 'v1']),
  kubeadmApi: z.enum(['v1beta2', 'v1beta3', 'v1beta4']),
  imageRepository: z.string(),
  pause: z.string(),
  etcd: z.string(),
  corednsImage: z.string(),
  coredns: z.string(),
};
const rowSchema = z.strictObject({
  kubernetes: z.string().regex(/^\d+\.\d+$/),
  latest: z.string().regex(/^v\d+\.\d+\.\d+/),
  ...facts,
  /** Changes within the minor; each applies from its patch release on. */
  patches: z.array(z.strictObject({ from: z.int().min(1), ...z.object(facts).partial().shape })).optional(),
});
const tableSchema = z.strictObject({ rows: z.array(rowSchema).min(1) });
export type VersionRow = z.infer<typeof rowSchema>;
/** Fact name to value: the variables that a row gives to recipes. */
export type VersionFacts = Readonly<Record<keyof typeof facts, string>>;

const tables = new Map<string, Promise<readonly VersionRow[]>>();

/** All rows, oldest first; of the table that this kina has, unless another folder of recipes is named. */
export function versionTable(folder: string = recipesFolder): Promise<readonly VersionRow[]> {
  const known = tables.get(folder);
  if (known) return known;
  const read = readFile(join(folder, 'versions.yaml'), 'utf8').then((text) => tableSchema.parse(parse(text)).rows);
  tables.set(folder, read);
  return read;
}

/**
 * The row for a full version. Pre-releases of the minor that comes next (`latest`, `ci/latest`) are developed against
 * what the newest release uses, so they take its row; `ahead` says so.
 */
export async function versionRow(
  kubernetes: string,
  folder?: string,
): Promise<{ row: VersionRow | undefined; ahead: boolean }> {
  const version = semver.coerce(kubernetes);
  const rows = await versionTable(folder);
  const find = (minor: number) => rows.find((r) => version && r.kubernetes === `${version.major}.${minor}`);
  const row = version ? find(version.minor) : undefined;
  if (row || !version || !semver.prerelease(kubernetes)) return { row, ahead: false };
  const before = find(version.minor - 1);
  return { row: before, ahead: before !== undefined };
}

/** The facts for a full version. Throws `usage` for a minor release that the table does not have. */
export async function versionFacts(kubernetes: string, folder?: string): Promise<VersionFacts> {
  const version = semver.coerce(kubernetes);
  const rows = await versionTable(folder);
  const { row } = await versionRow(kubernetes, folder);
  if (!row || !version)
    throw new KinaError('usage', `no row for Kubernetes ${kubernetes} in the version table`, {
      hint: `It has ${rows[0]!.kubernetes} to ${rows.at(-1)!.kubernetes}; a newer kina knows newer ones.`,
    });
  const { kubernetes: _minor, latest: _latest, patches, ...base } = row;
  const merged: Record<string, string> = { ...base };
  for (const { from, ...changed } of patches ?? [])
    if (version.patch >= from)
      for (const [name, value] of Object.entries(changed)) if (value !== undefined) merged[name] = value;
  return merged as VersionFacts;
}
