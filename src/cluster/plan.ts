/** Checks everything that can be wrong with a cluster, and gets its images, before the first container is created. */
import { KinaError } from '../host/errors.ts';
import { labels } from '../oci/node-conventions.ts';
import type { EngineImage } from '../provider/provider.ts';
import type { PlannedCluster, ProvisionOptions } from './actions/context.ts';
import { warnAboutIgnoredKeys } from './actions/notices.ts';
import { checkContainerdPatches } from './kubeadm/containerd.ts';
import { checkPatches } from './kubeadm/documents.ts';
import { roles } from './names.ts';
import { checkRootless } from './rootless.ts';

/** Throws `conflict` when the cluster exists, and `config` for patches that do not fit the Kubernetes of the image. */
export async function planCluster(options: ProvisionOptions): Promise<PlannedCluster> {
  const { cluster, provider } = options;
  const others = await provider.nodes();
  const existing = others.filter((node) => node.cluster === cluster.name);
  if (existing.length > 0)
    throw new KinaError(
      'conflict',
      `node(s) already exist for a cluster with the name ${JSON.stringify(cluster.name)}`,
      {
        details: existing.map((node) => `${node.name} (${node.state})`),
        hint: 'Choose another --name, or run `kina delete cluster` first.',
      },
    );
  const rootless = await checkRootless(provider, options.environment);
  warnAboutIgnoredKeys(options);
  const images = await ensureNodeImages(options);
  const [first] = controlPlanesOf(options);
  const absent = images.get(first?.image ?? options.image)?.labels[labels.absent];
  return {
    ...options,
    rootless,
    taken: new Set(others.flatMap(({ ports }) => ports.map((port) => port.hostPort))),
    absent: new Set(absent?.split(',').filter(Boolean)),
    loadBalancerImage: await ensureLoadBalancerImage(options),
  };
}

const controlPlanesOf = ({ cluster }: ProvisionOptions) =>
  cluster.nodes.filter((node) => node.role === roles.controlPlane);

async function ensureNodeImages(options: ProvisionOptions): Promise<Map<string, EngineImage>> {
  const { cluster, steps } = options;
  const found = new Map<string, EngineImage>();
  for (const reference of new Set(cluster.nodes.map((node) => node.image ?? options.image)))
    await steps.step(`Ensuring node image (${reference})`, async (say) => {
      found.set(reference, await options.ensureImage(reference, say));
    });
  // Images that kina did not build have no version labels: their patches are checked when the node runs.
  const versions = (label: string): string[] => [
    ...new Set([...found.values()].flatMap((image) => image.labels[label] ?? [])),
  ];
  checkPatches(cluster, versions(labels.kubernetes));
  for (const containerd of versions(labels.component('containerd'))) checkContainerdPatches(cluster, containerd);
  return found;
}

async function ensureLoadBalancerImage(options: ProvisionOptions): Promise<string | undefined> {
  if (controlPlanesOf(options).length < 2) return undefined;
  return options.steps.step('Ensuring the load balancer image', async (say) => {
    const reference = await options.buildLoadBalancerImage();
    await options.ensureImage(reference, say);
    return reference;
  });
}
