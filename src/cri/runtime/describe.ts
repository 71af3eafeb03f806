/** Sandboxes and containers as CRI messages. */
import type {
  Container,
  ContainerFilter,
  ContainerState,
  ContainerStatus,
  Mount,
  PodSandbox,
  PodSandboxFilter,
  PodSandboxState,
  PodSandboxStatus,
} from '../api/messages.ts';
import type { Outgoing } from '../api/services.ts';
import type { ImageLibrary } from '../images/library.ts';
import type { Pod, PodContainer } from './pod.ts';

const podState = (pod: Pod): PodSandboxState => (pod.isReady ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY');

const containerStates = {
  created: 'CONTAINER_CREATED',
  running: 'CONTAINER_RUNNING',
  exited: 'CONTAINER_EXITED',
} as const satisfies Record<PodContainer['state'], ContainerState>;

export function describePod(pod: Pod): Outgoing<PodSandbox> {
  const { config, createdAt, runtimeHandler } = pod.record;
  const { metadata, labels, annotations } = config;
  return { id: pod.id, metadata, state: podState(pod), createdAt, labels, annotations, runtimeHandler };
}

export function podStatus(pod: Pod): Outgoing<PodSandboxStatus> {
  const [ip = '', ...others] = pod.record.addresses;
  const options = pod.record.config.linux?.securityContext?.namespaceOptions ?? null;
  return {
    ...describePod(pod),
    network: { ip, additionalIps: others.map((one) => ({ ip: one })) },
    linux: { namespaces: { options } },
  };
}

export function describeContainer(pod: Pod, container: PodContainer): Outgoing<Container> {
  const { config, createdAt, imageId } = container.record;
  const { metadata, image, labels, annotations } = config;
  return {
    id: container.id,
    podSandboxId: pod.id,
    metadata,
    image,
    imageRef: imageId,
    imageId,
    state: containerStates[container.state],
    createdAt,
    labels,
    annotations,
  };
}

/** `image` has the name from the request, because the kubelet shows it. */
export function containerStatus(container: PodContainer, images: ImageLibrary): Outgoing<ContainerStatus> {
  const { record, now } = container;
  const { config, createdAt, imageId } = record;
  const { metadata, labels, annotations, mounts } = config;
  const { uid, gid, additionalGids } = record.process.user;
  return {
    id: container.id,
    metadata,
    labels,
    annotations,
    mounts: mounts.map((one) => resolved(one, record.mounted)),
    state: containerStates[container.state],
    createdAt,
    startedAt: now.startedAt,
    finishedAt: now.finishedAt,
    exitCode: now.exitCode,
    ...ending(container),
    image: { ...config.image, image: images.nameOf(imageId) ?? config.image?.image },
    imageRef: imageId,
    imageId,
    logPath: record.log,
    resources: { linux: record.resources },
    user: { linux: { uid, gid, supplementalGroups: additionalGids } },
    stopSignal: config.stopSignal,
  };
}

/** The image of a mount, with the id that its name resolved to. */
function resolved(mount: Mount, images: Readonly<Record<string, string>>): Outgoing<Mount> {
  const id = images[mount.image?.image ?? ''];
  return id ? { ...mount, image: { ...mount.image, imageRef: id } } : mount;
}

/** In the words that kubelet and people know. */
function ending({ state, now, record }: PodContainer): { reason: string; message: string } {
  if (state !== 'exited') return { reason: '', message: '' };
  if (record.startError) return { reason: 'StartError', message: record.startError };
  if (now.oomKilled) return { reason: 'OOMKilled', message: '' };
  return { reason: now.exitCode === 0 ? 'Completed' : 'Error', message: '' };
}

const hasLabels = (labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

export function matchesPod(pod: Pod, filter: PodSandboxFilter | null): boolean {
  if (!filter) return true;
  return (
    pod.id.startsWith(filter.id) &&
    (!filter.state || filter.state.state === podState(pod)) &&
    hasLabels(pod.record.config.labels, filter.labelSelector)
  );
}

export function matchesContainer(pod: Pod, container: PodContainer, filter: Partial<ContainerFilter> | null): boolean {
  if (!filter) return true;
  return (
    container.id.startsWith(filter.id ?? '') &&
    pod.id.startsWith(filter.podSandboxId ?? '') &&
    (!filter.state || filter.state.state === containerStates[container.state]) &&
    hasLabels(container.record.config.labels, filter.labelSelector ?? {})
  );
}
