/**
 * The jobs of a pipeline that builds node images for several Kubernetes versions: versions × platforms, or one job per
 * version that builds all platforms on one machine (which needs no emulation, and only one machine can push an index of
 * all platforms).
 */
import { versionTable } from '../../build/versions.ts';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';

export interface Job {
  /** `v1.34.10`: the argument of `kina build node-image`. */
  readonly version: string;
  /** `1.34` */
  readonly minor: string;
  /** `linux/amd64`, or a comma-separated list if platforms are joined: the value of `--platform`. */
  readonly platform: string;
}
export interface Matrix {
  /** GitHub Actions' key for exactly these jobs. */
  readonly include: readonly Job[];
}
export interface MatrixRequest {
  /** Minors (`1.34`: the newest patch in the version table) or full versions; the newest three minors if empty. */
  readonly versions: readonly string[];
  readonly platforms: readonly Platform[];
  /** One job per version. */
  readonly join: boolean;
  /** Folder of the version table, if not kina's own. */
  readonly recipes?: string | undefined;
}

/** Kubernetes maintains the newest three minors (kubernetes.io/releases/version-skew-policy, "Supported versions"). */
const maintained = 3;

/** Throws `usage` with all versions that are not in the table. */
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
    throw new KinaError('usage', `not in the version table: ${unknown.join(', ')}`, {
      hint: `The table has ${minors[0]} to ${minors.at(-1)}; update kina for newer versions.`,
    });
  const names = platforms.map(formatPlatform);
  const unique = [...new Map(found.map((one) => [one.version, one])).values()];
  return {
    include: unique.flatMap(({ version, minor }) =>
      (join ? [names.join(',')] : names).map((platform) => ({ version, minor, platform })),
    ),
  };
}
