/** The three documents of kubeadm, before patches. Field names are those of its API reference. */
import { KinaError } from '../../host/errors.ts';
import { versionAtLeast } from '../../oci/node-conventions.ts';
import type { JsonObject } from '../config/merge.ts';
import { apiServerPort } from '../names.ts';
import { type KubeadmApi, kubeadmGroup } from './api.ts';
import { formOf, writeArguments } from './args.ts';
import type { KubeadmOptions } from './options.ts';
import type { KubeadmDocument } from './patch.ts';

export interface DocumentContext extends KubeadmOptions {
  readonly api: KubeadmApi;
  /** Feature gates of all components, by name. */
  readonly gates: Readonly<Record<string, boolean>>;
  readonly skipPhases: readonly string[];
}

export function clusterConfiguration(context: DocumentContext): KubeadmDocument {
  const { api, cluster, endpoint, gates, kubernetes } = context;
  const { ipFamily, podSubnets, serviceSubnets } = cluster.networking;
  const ipv6 = ipFamily === 'ipv6';
  const features = joined(gates);
  const timeout = api === 'v1beta4' ? {} : controlPlaneTimeout(context, 'timeoutForControlPlane');
  const args = (values: Readonly<Record<string, string>>) => extraArgs(api, values);
  return {
    apiVersion: `${kubeadmGroup}/${api}`,
    kind: 'ClusterConfiguration',
    kubernetesVersion: kubernetes,
    clusterName: cluster.name,
    controlPlaneEndpoint: endpoint,
    // kubeadm 1.20 configures dual stack only with this gate, which 1.24 removed
    ...(needsDualStackGate(context) ? { featureGates: { IPv6DualStack: true } } : {}),
    apiServer: {
      certSANs: certificateNames(context),
      ...args({ 'runtime-config': joined(cluster.runtimeConfig), 'feature-gates': features }),
      ...timeout,
    },
    controllerManager: args({
      // provisioner for clusters without another storage class
      'enable-hostpath-provisioner': 'true',
      'feature-gates': features,
      'bind-address': ipv6 ? '::' : '',
    }),
    // probes of an IPv6 node cannot reach 127.0.0.1
    scheduler: args({ 'feature-gates': features, 'bind-address': ipv6 ? '::1' : '' }),
    networking: { podSubnet: podSubnets.join(','), serviceSubnet: serviceSubnets.join(',') },
  };
}

export function initConfiguration(context: DocumentContext): KubeadmDocument {
  const { api, certificateKey, skipPhases, token, tokenTtl } = context;
  return {
    apiVersion: `${kubeadmGroup}/${api}`,
    kind: 'InitConfiguration',
    ...(token === undefined ? {} : { bootstrapTokens: [{ token, ...(tokenTtl ? { ttl: tokenTtl } : {}) }] }),
    ...(certificateKey === undefined ? {} : { certificateKey }),
    localAPIEndpoint: localEndpoint(context),
    nodeRegistration: nodeRegistration(context),
    ...timeouts(context),
    ...(api === 'v1beta2' ? {} : { skipPhases }),
  };
}

export function joinConfiguration(context: DocumentContext): KubeadmDocument {
  const { api, caCertHashes = [], certificateKey, endpoint, node, token = '' } = context;
  const controlPlane = {
    localAPIEndpoint: localEndpoint(context),
    ...(certificateKey === undefined ? {} : { certificateKey }),
  };
  return {
    apiVersion: `${kubeadmGroup}/${api}`,
    kind: 'JoinConfiguration',
    ...(node.role === 'control-plane' ? { controlPlane } : {}),
    discovery: { bootstrapToken: { apiServerEndpoint: endpoint, token, caCertHashes } },
    nodeRegistration: nodeRegistration(context),
    ...timeouts(context),
    ...(api === 'v1beta2' ? {} : { skipPhases: ['preflight'] }),
  };
}

/** IPv6DualStack is off by default in 1.20. Dual-stack clusters need it in every component. */
export function needsDualStackGate({ cluster, kubernetes }: KubeadmOptions): boolean {
  return cluster.networking.ipFamily === 'dual' && !versionAtLeast(kubernetes, '1.21.0');
}

/**
 * Addresses of a node, that of the family of the first service subnet first; that one is advertised. Throws `cluster` for a
 * missing address.
 */
function nodeAddresses({ cluster, node, addresses }: KubeadmOptions): string[] {
  const { ipFamily, serviceSubnets } = cluster.networking;
  const both = serviceSubnets[0]?.includes(':') ? (['ipv6', 'ipv4'] as const) : (['ipv4', 'ipv6'] as const);
  const wanted = ipFamily === 'dual' ? both : [ipFamily];
  return wanted.map((family) => {
    const address = addresses[family];
    if (address) return address;
    throw new KinaError('cluster', `${node.name} has no ${family} address, which ipFamily: ${ipFamily} needs`, {
      hint: 'Check that the network of the runtime has a subnet of this family.',
    });
  });
}

function localEndpoint(context: DocumentContext): JsonObject {
  return { advertiseAddress: nodeAddresses(context)[0]!, bindPort: apiServerPort };
}

/** kubeadm adds the name and address of the node and the first service address. */
function certificateNames({ certNames = [], cluster, endpoint, node }: DocumentContext): string[] {
  const endpointName = endpoint.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  const loopback = cluster.networking.ipFamily === 'ipv6' ? ['127.0.0.1', '::1'] : ['127.0.0.1'];
  const names = ['localhost', ...loopback, cluster.networking.apiServerAddress, endpointName, node.name, ...certNames];
  return [...new Set(names)];
}

function nodeRegistration(context: DocumentContext): JsonObject {
  const { api, cluster, node, providerId } = context;
  return {
    name: node.name,
    criSocket: 'unix:///run/containerd/containerd.sock',
    // a single node must run the pods
    ...(cluster.nodes.length === 1 ? { taints: [] } : {}),
    ...extraArgs(
      api,
      { 'node-ip': nodeAddresses(context).join(','), 'provider-id': providerId, 'node-labels': joined(node.labels) },
      'kubeletExtraArgs',
    ),
  };
}

/** Empty values are omitted, and the key if all are. */
function extraArgs(api: KubeadmApi, values: Readonly<Record<string, string>>, key = 'extraArgs'): JsonObject {
  const present = Object.entries(values).filter(([, value]) => value !== '');
  return present.length > 0 ? { [key]: writeArguments(present, formOf(api)) } : {};
}

/** `a=true,b=false`, sorted by name. */
function joined(values: Readonly<Record<string, string | boolean>>): string {
  const names = Object.keys(values).sort();
  return names.map((name) => `${name}=${values[name]}`).join(',');
}

function timeouts(context: DocumentContext): JsonObject {
  const timeout = context.api === 'v1beta4' ? controlPlaneTimeout(context, 'controlPlaneComponentHealthCheck') : {};
  return Object.keys(timeout).length > 0 ? { timeouts: timeout } : {};
}

function controlPlaneTimeout({ controlPlaneTimeout: seconds }: DocumentContext, key: string): JsonObject {
  return seconds === undefined ? {} : { [key]: `${seconds}s` };
}
