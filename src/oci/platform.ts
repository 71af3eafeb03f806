/** Platforms as in the OCI image index. Nodes run Linux on two architectures; images may be for any platform. */
import { KinaError } from '../host/errors.ts';
import type { DescriptorPlatform } from './descriptor.ts';

export type Architecture = 'amd64' | 'arm64';
export interface Platform {
  readonly os: 'linux';
  readonly architecture: Architecture;
}

export function platformOf(architecture: Architecture): Platform {
  return { os: 'linux', architecture };
}

/** The host's architecture on Linux: the default platform of a node image. */
export function hostPlatform(): Platform {
  return platformOf(process.arch === 'arm64' ? 'arm64' : 'amd64');
}

/** `linux/arm64`, `arm64`, `linux/arm64/v8`, `aarch64` and so on. */
export function parsePlatform(text: string): Platform {
  const parts = text.trim().toLowerCase().split('/');
  if (parts.length > 1 && parts[0] !== 'linux') throw unknown(text);
  const rest = parts.length > 1 ? parts.slice(1) : parts;
  const name = rest[0] ?? '';
  if (name === 'amd64' || name === 'x86_64' || name === 'x64') return platformOf('amd64');
  if ((name === 'arm64' || name === 'aarch64') && (rest[1] ?? 'v8') === 'v8') return platformOf('arm64');
  throw unknown(text);
}

function unknown(text: string): KinaError {
  return new KinaError('usage', `unknown platform ${JSON.stringify(text)}`, {
    hint: 'Node images are built for linux/amd64 and linux/arm64.',
  });
}

export function formatPlatform(platform: Platform): string {
  return `${platform.os}/${platform.architecture}`;
}

/** `linux/arm64/v8` */
export function platformName({ os, architecture, variant }: DescriptorPlatform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join('/');
}

/**
 * Variants from the best match to the worst: the baseline of the architecture, then what asks for more of the processor.
 * containerd writes `v8` for arm64 and no variant for amd64.
 */
const variants: Readonly<Record<Architecture, readonly string[]>> = {
  amd64: ['', 'v1', 'v2', 'v3', 'v4'],
  arm64: ['v8', ''],
};

/**
 * The best of `candidates` for a platform: the first one with the best variant. Undefined when none is for it. An unknown
 * variant is better than nothing.
 */
export function bestMatch<T>(
  candidates: readonly T[],
  platformOf: (candidate: T) => DescriptorPlatform | undefined,
  { os, architecture }: Platform,
): T | undefined {
  const rank = (candidate: T): number => {
    const known = variants[architecture].indexOf(platformOf(candidate)?.variant ?? '');
    return known < 0 ? Number.MAX_SAFE_INTEGER : known;
  };
  return candidates
    .filter((one) => platformOf(one)?.os === os && platformOf(one)?.architecture === architecture)
    .sort((a, b) => rank(a) - rank(b))[0];
}
