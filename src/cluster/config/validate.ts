/**
 * Checks of a cluster file beyond the schema: conflicts within a node, between nodes and in the network. kind finds some of
 * them only when the runtime fails, minutes after the start.
 */
import type { Problem } from '../../host/diagnose.ts';
import { overlap, parseAddress, parseCidr } from './cidr.ts';
import { labelProblem } from './labels.ts';
import type { ExtraPortMapping, Networking } from './model.ts';
import type { ClusterFile } from './schema.ts';

type Path = readonly PropertyKey[];
type NodeFile = NonNullable<ClusterFile['nodes']>[number];

/** The same as in kind. The names of nodes start with it. */
export const namePattern = /^[a-z0-9.-]+$/;

export function nameProblem(name: string, nodeNames: readonly string[]): string | undefined {
  if (!namePattern.test(name)) return `invalid cluster name ${JSON.stringify(name)}: use a-z, 0-9, "." and "-"`;
  const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
  const wrong = nodeNames.find((node) => !node.split('.').every((part) => label.test(part)));
  return wrong === undefined
    ? undefined
    : `invalid cluster name ${JSON.stringify(name)}: the node name ${wrong} would not be a DNS name`;
}

/** kubelet sets a label with the host name, and the value of a label has at most 63 characters. */
export function nameWarning(name: string, nodeNames: readonly string[]): string | undefined {
  const long = nodeNames.find((node) => node.length > 63);
  return (
    long &&
    `the cluster name ${name} is long: Kubernetes may refuse the node name ${long}, which has more than 63 characters`
  );
}

export function controlPlaneProblems(nodes: readonly NodeFile[], allowEven: boolean): Problem[] {
  const count = nodes.filter((node) => node.role !== 'worker').length;
  if (count === 0) return [{ path: ['nodes'], message: 'a cluster needs a node with role control-plane' }];
  if (count % 2 === 1 || allowEven) return [];
  return [
    {
      path: ['nodes'],
      message:
        `${count} control planes: etcd needs a majority, so ${count} tolerate no more failures than ${count - 1}; ` +
        'use an odd number, or pass --allow-even-control-planes',
    },
  ];
}

/** Wrong families, and subnets that overlap. */
export function subnetProblems({ ipFamily, podSubnets, serviceSubnets }: Networking): Problem[] {
  const lists = [
    { key: 'podSubnet', subnets: podSubnets },
    { key: 'serviceSubnet', subnets: serviceSubnets },
  ];
  const problems: Problem[] = lists.flatMap(({ key, subnets }) => {
    const families = subnets.map((subnet) => parseCidr(subnet)!.family);
    const path = ['networking', key];
    if (ipFamily !== 'dual')
      return families.length === 1 && families[0] === ipFamily
        ? []
        : [{ path, message: `${key}: ipFamily ${ipFamily} needs exactly one ${ipFamily} network` }];
    return families.length <= 2 && new Set(families).size === families.length
      ? []
      : [{ path, message: `${key}: ipFamily dual needs one network, or one of each family` }];
  });
  const all = lists.flatMap(({ key, subnets }) => subnets.map((subnet) => ({ key, subnet, cidr: parseCidr(subnet)! })));
  for (const [i, a] of all.entries())
    for (const b of all.slice(i + 1))
      if (a.key !== b.key && overlap(a.cidr, b.cidr))
        problems.push({
          path: ['networking', b.key],
          message: `${b.key} ${b.subnet} overlaps ${a.key} ${a.subnet}`,
        });
  return problems;
}

export function mountProblems(node: NodeFile, path: Path): Problem[] {
  const seen = new Set<string>();
  return (node.extraMounts ?? []).flatMap(({ containerPath }, i) => {
    const target = containerPath.replace(/\/+$/, '') || '/';
    const again = seen.has(target);
    seen.add(target);
    return again
      ? [{ path: [...path, 'extraMounts', i], message: `containerPath ${containerPath} is used twice` }]
      : [];
  });
}

export function labelProblems(node: NodeFile, path: Path): Problem[] {
  return Object.entries(node.labels ?? {}).flatMap(([key, value]) => {
    const message = labelProblem(key, value);
    return message ? [{ path: [...path, 'labels'], key, message }] : [];
  });
}

interface Used extends ExtraPortMapping {
  readonly path: Path;
  readonly what: string;
}

/**
 * Host ports that are mapped twice, by nodes or the API server. A wildcard address uses the port on every address; `0.0.0.0`
 * and `::` count as the same, because `::` often includes IPv4.
 */
export function portProblems(
  nodes: readonly { name: string; ports: readonly ExtraPortMapping[] }[],
  { apiServerAddress, apiServerPort }: Networking,
): Problem[] {
  const used: Used[] = nodes.flatMap(({ name, ports }, n) =>
    ports.map((port, p) => ({ ...port, path: ['nodes', n, 'extraPortMappings', p], what: name })),
  );
  used.unshift({
    containerPort: 6443,
    hostPort: apiServerPort,
    listenAddress: apiServerAddress,
    protocol: 'TCP',
    path: ['networking', 'apiServerPort'],
    what: 'the API server',
  });
  const fixed = used.filter(({ hostPort }) => hostPort > 0);
  return fixed.flatMap((mapping, i) => {
    const other = fixed.slice(0, i).find((earlier) => collide(earlier, mapping));
    if (!other) return [];
    const { path, hostPort, protocol, listenAddress } = mapping;
    const wanted = `host port ${hostPort}/${protocol} on ${listenAddress}`;
    return [{ path, message: `${wanted} is used by ${other.what} (on ${other.listenAddress})` }];
  });
}

function collide(a: ExtraPortMapping, b: ExtraPortMapping): boolean {
  if (a.hostPort !== b.hostPort || a.protocol !== b.protocol) return false;
  const [one, two] = [parseAddress(a.listenAddress)!, parseAddress(b.listenAddress)!];
  return one.value === 0n || two.value === 0n || (one.family === two.family && one.value === two.value);
}
