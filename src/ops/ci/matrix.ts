/**
 * The jobs of a pipeline that builds node images for several Kubernetes versions: versions × platforms, or a job a version
 * when one machine builds all platforms (no emulation is needed, so one machine can, and only one machine can push an index
 * of all of them).
 */
import { versionTable } from '../../build/versions.ts';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';

export interface Job {
  /** `v1.34.10`: what `kina build node-image` takes. */
  readonly version: string;
  /** `1.34` */
  readonly minor: string;
  /** `linux/amd64`, or a comma list when platforms are joined: what `--platform` takes. */
  readonly platform: string;
}
export interface Matrix {
  /** The key that GitHub Actions gives its meaning: these jobs and no other combinations. */
  readonly include: readonly Job[];
}
export interface MatrixRequest {
  /** Minors (`1.34`: the newest patch that the version table knows) or full versions; the newest three minors when empty. */
  readonly versions: readonly string[];
  readonly platforms: readonly Platform[];
  /** One job a version. */
  readonly join: boolean;
  /** Folder of the version table, when it is not this kina's. */
  readonly recipes?: string | undefined;
}

/** Kubernetes maintains the newest three minors (kubernetes.io/releases/version-skew-policy, "Supported versions"). */
const maintained = 3;

/** Throws `usage` for versions that the table does not have; all of them at once. */
export async function jobMatrix({ versions, platforms, join, recipes }: MatrixRequest): Promise<Matrix> {
  const rows = await versionTable(recipes);
  const minors = rows.map((row) => row.kubernetes);
  const wanted = versions.length > 0 ? versions : minors.slice(-maintained);
  const unknown: string[] = [];
  const found = wanted.flatMap((text) => {
    const [, minor, patch] = /^v?(\d+\.\d+)(\.\d+(?:-[\w.]+)?)?$/.exec(text) ?? [];
    const row = rows.find(({ kubernetes }) => kubernetes === minor);
    if (row) return [{ minor: row.kubernetes, version: patch === undefined ? row.latest : `v${minor}${patch}` }];
    unknown.push(`${text}${didYouMean(text, minors)}`);
    return [];
  });
  if (unknown.length > 0)
    throw new KinaError('usage', `no row in the version table for ${unknown.join(', ')}`, {
      hint: `It has ${minors[0]} to ${minors.at(-1)}; a newer kina knows newer ones.`,
    });
  const names = platforms.map(formatPlatform);
  const unique = [...new Map(found.map((one) => [one.version, one])).values()];
  return {
    include: unique.flatMap(({ version, minor }) =>
      (join ? [names.join(',')] : names).map((platform) => ({ version, minor, platform })),
    ),
  };
}
