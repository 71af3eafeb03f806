/** Networks: a subnet each, isolated from each other, without names between containers. */
import { compact, pretty } from './json.ts';
import { podman } from './podman.ts';
import { failure, Refusal } from './refusal.ts';
import { change, ownName, prefix, read, type StoredNetwork } from './state.ts';

const labelKey = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)*$/;

interface Wanted {
  readonly labels: readonly string[];
  readonly subnet: string | undefined;
}

export async function createNetwork(name: string, { labels, subnet }: Wanted): Promise<string> {
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name)) throw failure(`invalid network name: ${name}`);
  const state = read();
  if (state.networks[name] || name === 'default') throw failure(`network ${name} already exists`);
  const pairs = labels.map((label) => {
    const at = label.indexOf('=');
    if (at < 0 || !labelKey.test(label.slice(0, at))) throw failure(`invalid label: ${label}`);
    return [label.slice(0, at), label.slice(at + 1)];
  });
  const other = Object.values(state.networks).find((one) => one.subnet === subnet);
  if (other) throw failure(`IPv4 subnet ${subnet} overlaps an existing network with subnet ${other.subnet}`);
  // Netavark's own resolver is what Apple's runtime has not.
  const flags = ['--disable-dns', `--label=kina-stand-in=${prefix}`, ...(subnet ? [`--subnet=${subnet}`] : [])];
  const made = await podman(['network', 'create', ...flags, ownName(name)]);
  if (made.code !== 0) {
    if (/already used|overlap/i.test(made.stderr))
      throw failure(`IPv4 subnet ${subnet} overlaps an existing network with subnet ${subnet}`);
    throw new Error(made.stderr);
  }
  const [described] = JSON.parse((await podman(['network', 'inspect', ownName(name)])).stdout || '[{}]') as [
    { subnets?: { subnet: string }[] },
  ];
  await change(({ networks }) => {
    networks[name] = {
      name,
      created: now(),
      labels: Object.fromEntries(pairs) as Record<string, string>,
      subnet: subnet ?? described.subnets?.[0]?.subnet ?? '192.168.65.0/24',
    };
  });
  return `${name}\n`;
}

export const now = (): string => new Date().toISOString().replace(/\.\d+Z/, 'Z');

const gatewayOf = (subnet: string): string => subnet.replace(/\.\d+\/\d+$/, '.1');

function resource({ name, created, labels, subnet }: StoredNetwork): unknown {
  const common = { mode: 'nat', options: {}, plugin: 'container-network-vmnet' };
  return {
    id: name,
    configuration: {
      ...common,
      name,
      creationDate: created,
      ipv4Subnet: name === 'default' ? undefined : subnet,
      labels,
    },
    status: { ipv4Gateway: gatewayOf(subnet), ipv4Subnet: subnet, ipv6Subnet: 'fd65:90a0:b1c2:d3e4::/64' },
  };
}

/** It always exists: it is neither created nor removed. */
const builtin: StoredNetwork = {
  name: 'default',
  created: '2026-08-20T09:00:00Z',
  labels: { 'com.apple.container.resource.role': 'builtin' },
  subnet: '192.168.64.0/24',
};

function everyNetwork(): StoredNetwork[] {
  return [...Object.values(read().networks), builtin].sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function listNetworks(): string {
  return compact(everyNetwork().map(resource));
}

export function inspectNetworks(names: readonly string[]): string {
  const every = everyNetwork();
  const absent = names.filter((name) => !every.some((one) => one.name === name));
  if (absent.length > 0) throw failure(`network not found: ${absent.join(', ')}`);
  return pretty(every.filter(({ name }) => names.includes(name)).map(resource));
}

export async function deleteNetworks(names: readonly string[]): Promise<string> {
  const gone: string[] = [];
  for (const name of names) {
    const { networks, containers } = read();
    if (!networks[name]) throw failure(`failed to delete one or more networks: ["${name}"]`);
    const users = Object.values(containers).filter(({ network }) => network.name === name);
    if (users.length > 0) {
      const who = users.map((one) => one.name).join(', ');
      throw new Refusal(
        `failed to delete network: ["id": ${name}, "error": invalidState: "cannot delete subnet ${name} with referring containers: ${who}"]\n` +
          `Error: delete failed for one or more networks: ["${name}"]\n`,
      );
    }
    const removed = await podman(['network', 'rm', ownName(name)]);
    if (removed.code !== 0 && !/not found/.test(removed.stderr)) throw new Error(removed.stderr);
    await change((state) => {
      delete state.networks[name];
    });
    gone.push(name);
  }
  return gone.map((one) => `${one}\n`).join('');
}
