/**
 * Decodes the JSON of Apple's `container` (1.0 and later: `{id, configuration, status}`). The schemas contain only the
 * fields that kina uses; other fields may change between versions.
 */
import { z } from 'zod';
import { KinaError } from '../host/errors.ts';
import { type EngineImage, type NodePort, type NodeStatus, nodeLabels } from './provider.ts';

const labels = z.record(z.string(), z.string());

const container = z.object({
  id: z.string(),
  configuration: z.object({
    labels,
    image: z.object({ reference: z.string() }),
    publishedPorts: z.array(
      z.object({
        hostAddress: z.string(),
        hostPort: z.number(),
        containerPort: z.number(),
        proto: z.string(),
        count: z.number().optional(),
      }),
    ),
  }),
  // Before 1.0 `status` was a string, which is refused.
  status: z.object({
    state: z.string(),
    networks: z.array(z.object({ ipv4Address: z.string(), ipv6Address: z.string().optional() })),
  }),
});

const image = z.object({
  configuration: z.object({ name: z.string(), descriptor: z.object({ digest: z.string() }) }),
  variants: z.array(
    z.object({
      digest: z.string(),
      platform: z.object({ os: z.string(), architecture: z.string() }),
      config: z.object({ config: z.object({ Labels: labels.optional() }).optional() }),
    }),
  ),
});

const network = z.object({
  id: z.string(),
  configuration: z.object({ labels, ipv4Subnet: z.string().optional() }),
  status: z.object({ ipv4Subnet: z.string().optional(), ipv6Subnet: z.string().optional() }).optional(),
});

// Since 1.4.1 everything except `status` is nested.
const serviceStatus = z.object({
  status: z.string(),
  apiServerVersion: z.string().optional(),
  server: z.object({ version: z.string() }).optional(),
});

export type AppleNetwork = z.infer<typeof network>;

/** Label of nodes in clusters with IPv6. Every virtual machine has an IPv6 address; other clusters must not use it. */
export const ipv6Label = 'dev.kina.ipv6';

function decode<T extends z.ZodType>(schema: T, text: string, what: string): z.infer<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KinaError('provider', `\`container ${what}\` did not print valid JSON`, {
      details: [text.slice(0, 200)],
      cause,
    });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new KinaError('provider', `\`container ${what}\` printed JSON in an unknown format`, {
    details: parsed.error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`),
    hint: 'kina supports container 1.0 and later. Please report the output of `container --version`.',
  });
}

/** Decodes `list --all` and `inspect`: the containers that kina created, ordered by name. */
export function decodeNodes(text: string, value?: string, label: string = nodeLabels.cluster): NodeStatus[] {
  return decode(z.array(container), text, 'list')
    .filter(({ configuration }) => {
      const of = configuration.labels[label];
      return of !== undefined && (value === undefined || of === value);
    })
    .map(nodeStatus)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Host ports of all containers, running or stopped: a stopped container needs its port when it starts again. */
export function decodePorts(text: string): Set<number> {
  const ports = decode(z.array(container), text, 'list').flatMap((one) => one.configuration.publishedPorts);
  return new Set(ports.flatMap(({ hostPort, count = 1 }) => Array.from({ length: count }, (_, i) => hostPort + i)));
}

function nodeStatus({ id, configuration, status }: z.infer<typeof container>): NodeStatus {
  const running = status.state === 'running';
  // /etc/hosts and published ports use the first network. Addresses include the prefix length.
  const [first] = running ? status.networks : [];
  const bare = (address: string | undefined) => address?.split('/')[0] || undefined;
  return {
    name: id,
    cluster: configuration.labels[nodeLabels.cluster] ?? '',
    role: configuration.labels[nodeLabels.role] ?? '',
    state: running ? 'running' : 'stopped',
    image: configuration.image.reference,
    labels: configuration.labels,
    ipv4: bare(first?.ipv4Address),
    ipv6: configuration.labels[ipv6Label] ? bare(first?.ipv6Address) : undefined,
    ports: configuration.publishedPorts.map(({ hostAddress, hostPort, containerPort, proto }) => ({
      address: hostAddress,
      hostPort,
      containerPort,
      protocol: proto.toUpperCase() as NodePort['protocol'],
    })),
  };
}

/** Decodes `image inspect`: the variant for an architecture, or undefined. */
export function decodeImage(text: string, architecture: string): EngineImage | undefined {
  const [found] = decode(z.array(image), text, 'image inspect');
  const variant = found?.variants.find(
    ({ platform }) => platform.os === 'linux' && platform.architecture === architecture,
  );
  if (!found || !variant) return undefined;
  return {
    config: variant.digest,
    index: found.configuration.descriptor.digest,
    architecture,
    names: [found.configuration.name],
    labels: variant.config.config?.Labels ?? {},
  };
}

export function decodeNetworks(text: string): AppleNetwork[] {
  return decode(z.array(network), text, 'network list');
}

/** IPv4 first. The requested subnet is used while the network has no actual one. */
export function subnetsOf({ configuration, status }: AppleNetwork): string[] {
  return [status?.ipv4Subnet ?? configuration.ipv4Subnet, status?.ipv6Subnet].filter((one) => one !== undefined);
}

/** The status is `running`, `not running` or `unregistered`. Some versions of the service omit their version. */
export function decodeService(text: string): { status: string; version: string | undefined } {
  const { status, apiServerVersion, server } = decode(serviceStatus, text, 'system status');
  return { status, version: versionIn(server?.version ?? apiServerVersion ?? '') };
}

/** Finds the version number in a line, e.g. in `container CLI version 1.2.2 (build: release, commit: …)`. */
export function versionIn(text: string): string | undefined {
  return /\b(\d+\.\d+\.\d+)\b/.exec(text)?.[1];
}
