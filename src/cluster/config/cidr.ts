/** IP addresses and networks of both families as numbers, to compare them. */
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 'ipv4' | 'ipv6';
export interface Cidr {
  readonly family: Family;
  /** The first address of the network. */
  readonly first: bigint;
  readonly last: bigint;
  readonly prefix: number;
}

const bitsOf = { ipv4: 32, ipv6: 128 } as const;

/** Undefined if `text` is not an address. Zones (`fe80::1%eth0`) are not supported. */
export function parseAddress(text: string): { family: Family; value: bigint } | undefined {
  if (isIPv4(text)) return { family: 'ipv4', value: numberOf(text.split('.').map(Number), 8n) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  // The last 32 bits may be written as an IPv4 address (RFC 4291, section 2.2).
  const tail = /(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const low = tail ? parseAddress(tail[2]!)!.value : 0n;
  const plain = tail ? `${tail[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}` : text;
  const [head = [], rest] = plain.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = rest ? Array(8 - head.length - rest.length).fill('0') : [];
  const groups = [...head, ...zeros, ...(rest ?? [])].map((group) => Number.parseInt(group, 16));
  return { family: 'ipv6', value: numberOf(groups, 16n) };
}

/** `10.244.0.0/16` or `fd00::/56`. Host bits may be set, as Go's `net.ParseCIDR` allows. */
export function parseCidr(text: string): Cidr | undefined {
  const [, base, length] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = base === undefined ? undefined : parseAddress(base);
  const prefix = Number(length);
  if (!address || String(prefix) !== length || prefix > bitsOf[address.family]) return undefined;
  const size = 1n << BigInt(bitsOf[address.family] - prefix);
  const first = (address.value / size) * size;
  return { family: address.family, first, last: first + size - 1n, prefix };
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

function numberOf(groups: readonly number[], bits: bigint): bigint {
  return groups.reduce((value, group) => (value << bits) | BigInt(group), 0n);
}
