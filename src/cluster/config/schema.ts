/**
 * The schemas of the two formats of a cluster file. `kind.x-k8s.io/v1alpha4` is that of kind; `kina.dev/v1alpha1` adds keys
 * for nodes in virtual machines, among others. Unknown keys are errors.
 *
 * kind decodes YAML 1.1 into Go types: `yes` is true, a number is accepted for a string, and an empty value means the
 * default. Files that rely on that keep working; see `leaf.ts`.
 */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { providerNames } from '../../provider/provider.ts';
import { parseAddress, parseCidr } from './cidr.ts';
import { choice, flag, number, orNothing, size, text } from './leaf.ts';

const port = (lowest: number) =>
  number.refine((n) => Number.isInteger(n) && n >= lowest && n <= 65535, `expected a port from ${lowest} to 65535`);
const address = text.refine((value) => parseAddress(value) !== undefined, 'expected an IP address');
const subnets = text
  .transform((value) => value.split(',').map((part) => part.trim()))
  .refine((parts) => parts.every((part) => parseCidr(part)), 'expected a network such as 10.244.0.0/16');

const mount = z.strictObject({
  hostPath: text.refine((path) => path !== '', 'must not be empty'),
  containerPath: text.refine(isAbsolute, 'expected an absolute path in the node'),
  readOnly: flag.optional(),
  selinuxRelabel: flag.optional(),
  propagation: choice('None', 'HostToContainer', 'Bidirectional'),
});

const portMapping = z.strictObject({
  containerPort: port(1),
  hostPort: port(-1).optional(),
  listenAddress: orNothing(address),
  protocol: z.preprocess(
    (value) => (typeof value === 'string' ? value.toUpperCase() : value),
    choice('TCP', 'UDP', 'SCTP'),
  ),
});

const patch6902 = z.strictObject({
  group: text.optional(),
  version: text.optional(),
  kind: text,
  patch: text,
});

const node = z.strictObject({
  role: choice('control-plane', 'worker'),
  image: orNothing(text),
  labels: z.record(z.string(), text).optional(),
  extraMounts: z.array(mount).optional(),
  extraPortMappings: z.array(portMapping).optional(),
  kubeadmConfigPatches: z.array(text).optional(),
  kubeadmConfigPatchesJSON6902: z.array(patch6902).optional(),
});

const networking = z.strictObject({
  ipFamily: choice('ipv4', 'ipv6', 'dual'),
  apiServerPort: port(-1).optional(),
  apiServerAddress: orNothing(address),
  podSubnet: orNothing(subnets),
  serviceSubnet: orNothing(subnets),
  disableDefaultCNI: flag.optional(),
  kubeProxyMode: choice('iptables', 'ipvs', 'nftables', 'none'),
  dnsSearch: z.array(text).optional(),
});

const cluster = z.strictObject({
  kind: z.literal('Cluster'),
  apiVersion: z.string(),
  name: text.optional(),
  nodes: z.array(node).min(1, 'a cluster needs at least one node').optional(),
  networking: networking.optional(),
  featureGates: z.record(z.string(), flag).optional(),
  runtimeConfig: z.record(z.string(), text).optional(),
  kubeadmConfigPatches: z.array(text).optional(),
  kubeadmConfigPatchesJSON6902: z.array(patch6902).optional(),
  containerdConfigPatches: z.array(text).optional(),
  containerdConfigPatchesJSON6902: z.array(text).optional(),
});

const vmNode = node.extend({
  cpus: number.refine((n) => n > 0, 'expected a number above 0').optional(),
  memory: size.optional(),
  disk: size.optional(),
  kernel: text.refine((path) => path !== '', 'must not be empty').optional(),
  kernelArguments: z.array(text).optional(),
  rosetta: flag.optional(),
});

/** By `apiVersion`. The second format has all keys of the first. */
export const formats = {
  'kind.x-k8s.io/v1alpha4': cluster,
  'kina.dev/v1alpha1': cluster.extend({
    provider: z.enum(providerNames).optional(),
    nodes: z.array(vmNode).min(1, 'a cluster needs at least one node').optional(),
    networking: networking
      .extend({
        cni: text
          .refine(
            (value) => ['default', 'kindnet', 'none'].includes(value) || /\/|\.(ya?ml|json)$/.test(value),
            'expected default, kindnet, none or the path of a manifest',
          )
          .optional(),
        mtu: number.refine((n) => Number.isInteger(n) && n >= 576 && n <= 65535, 'expected 576 to 65535').optional(),
      })
      .optional(),
  }),
} as const;

/** The content of a file in either format. */
export type ClusterFile = z.infer<(typeof formats)['kina.dev/v1alpha1']>;
