/** Canonical JSON: object keys sorted by code unit, no white space. Digests and cache keys are computed from it. */
import { createHash } from 'node:crypto';

export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, v) =>
    v && typeof v === 'object' && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : v,
  );
}

/** `sha256:HEX` of bytes, or of the UTF-8 bytes of a string. */
export function sha256(data: string | Uint8Array): `sha256:${string}` {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

/** The digest of a value's canonical JSON. */
export function digestOf(value: unknown): `sha256:${string}` {
  return sha256(canonicalJson(value));
}
