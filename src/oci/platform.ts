/** Platforms as in the OCI image index: only Linux, only the two architectures that nodes run on. */
import { KinaError } from '../host/errors.ts';

export type Architecture = 'amd64' | 'arm64';
export interface Platform {
  readonly os: 'linux';
  readonly architecture: Architecture;
}

export function platformOf(architecture: Architecture): Platform {
  return { os: 'linux', architecture };
}

/** The host's architecture on Linux: what a node image is for when nobody says otherwise. */
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
