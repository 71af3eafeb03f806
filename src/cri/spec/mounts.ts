/** The mounts of a container: system directories, the pod's files, volumes. */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { inSandbox } from '../agent/protocol.ts';
import type { Mount } from '../api/messages.ts';
import { invalid, unsupported } from '../api/status.ts';
import { pathInSandbox } from './shares.ts';

/** As in an OCI configuration. */
export interface OciMount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
}

/** The pod's files, created for every sandbox. A container has them unless a volume is mounted at the same path. */
export const podFiles = { hosts: 'hosts', hostname: 'hostname', resolv: 'resolv.conf' } as const;

/**
 * A privileged container has the sandbox's devices and can write kernel settings. A container with a user namespace cannot
 * mount file systems that belong to the sandbox's network and IPC namespaces, so it gets the sandbox's mounts.
 */
export function systemMounts(privileged: boolean, userNamespace: boolean): OciMount[] {
  const access = privileged ? 'rw' : 'ro';
  const sandboxes = (path: string): OciMount => ({
    destination: path,
    type: 'bind',
    source: path,
    options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', access],
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    privileged
      ? { destination: '/dev', type: 'bind', source: '/dev', options: ['rbind', 'rprivate', 'rw'] }
      : {
          destination: '/dev',
          type: 'tmpfs',
          source: 'tmpfs',
          options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
        },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    // It already exists below the sandbox's /dev, and the kernel refuses to mount it over itself.
    privileged || userNamespace
      ? sandboxes('/dev/mqueue')
      : { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    userNamespace
      ? sandboxes('/sys')
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', access],
    },
    // the pod's, shared by its containers
    { destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind', 'rprivate', 'rw'] },
  ];
}

/** The pod's files, except where a volume is mounted. A pod without DNS settings uses the sandbox's resolv.conf. */
export function podFileMounts(volumes: readonly Mount[], readonlyRoot: boolean, ownResolvers: boolean): OciMount[] {
  const file = (destination: string, name: string): OciMount => ({
    destination,
    type: 'bind',
    source: name.startsWith('/') ? name : join(inSandbox.shared, name),
    options: ['rbind', 'rprivate', readonlyRoot ? 'ro' : 'rw'],
  });
  return [
    file('/etc/hosts', podFiles.hosts),
    file('/etc/hostname', podFiles.hostname),
    file('/etc/resolv.conf', ownResolvers ? podFiles.resolv : '/etc/resolv.conf'),
  ].filter(({ destination }) => !volumes.some(({ containerPath }) => resolve(containerPath) === destination));
}

const propagation = {
  PROPAGATION_PRIVATE: 'rprivate',
  PROPAGATION_HOST_TO_CONTAINER: 'rslave',
  PROPAGATION_BIDIRECTIONAL: 'rshared',
} as const;

/** The mount options that the sandbox supports, as the agent reports them. */
export interface MountAbilities {
  readonly recursiveReadOnly: boolean;
  /** True when the sandbox sees mounts that the host makes below a shared folder. A virtual machine does not see them. */
  readonly mountsSpread: boolean;
}

export interface VolumeMounts {
  readonly mounts: OciMount[];
  /** References of mounted images, in the order of their numbers in `image:N` sources. */
  readonly images: string[];
}

/** Sorts mounts so that a mount comes after the mount that it is below. */
export function byDepth(mounts: readonly OciMount[]): OciMount[] {
  const depth = ({ destination }: OciMount): number => destination.split('/').filter(Boolean).length;
  return mounts.toSorted((a, b) => depth(a) - depth(b));
}

/** In the order of the volumes. */
export async function volumeMounts(
  volumes: readonly Mount[],
  shares: readonly string[],
  able: MountAbilities,
): Promise<VolumeMounts> {
  const images: string[] = [];
  const mounts: OciMount[] = [];
  for (const volume of volumes) {
    const { containerPath, image } = volume;
    if (!containerPath.startsWith('/'))
      throw invalid(`the mount path ${JSON.stringify(containerPath)} is not absolute`);
    if (image?.image) {
      if (volume.hostPath) throw invalid(`${containerPath}: a mount is of an image or of a host path, not of both`);
      if (!volume.readonly) throw invalid(`${containerPath}: an image can only be mounted with readonly`);
      const number = images.includes(image.image) ? images.indexOf(image.image) : images.push(image.image) - 1;
      const inside = subPath(volume.imageSubPath);
      mounts.push({
        destination: containerPath,
        type: 'bind',
        source: `image:${number}${inside}`,
        options: ['rbind', 'rprivate', 'ro'],
      });
      continue;
    }
    if (volume.recursiveReadOnly) checkRecursive(volume, able);
    if (!able.mountsSpread) await checkSeen(volume);
    const access = volume.recursiveReadOnly ? ['ro', 'rro'] : [volume.readonly ? 'ro' : 'rw'];
    const owners = volume.uidMappings.length > 0 ? ['idmap'] : [];
    mounts.push({
      destination: containerPath,
      type: 'bind',
      source: await pathInSandbox(volume.hostPath, shares, `mount of ${containerPath}`),
      options: ['rbind', propagation[volume.propagation], ...access, ...owners],
    });
  }
  return { images, mounts };
}

/** `..` would leave the image. */
function subPath(path: string): string {
  const parts = path.split('/').filter((part) => part && part !== '.');
  if (parts.includes('..')) throw invalid(`the path ${JSON.stringify(path)} leaves the image`);
  return parts.map((part) => `/${part}`).join('');
}

/** The kubelet's paths of volumes and of their parts (`subPath`): pkg/kubelet and pkg/volume in Kubernetes. */
const kubeletMounts = /\/pods\/[^/]+\/(?:volumes\/[^/~]+~([^/]+)|(volume-subpaths))\//;
/** Kinds of volumes that are plain folders; all others are mounts. */
const plainVolumes = ['empty-dir', 'configmap', 'git-repo'];

/** Refuses the container: it would see empty secrets, or write persistent data to the wrong place. */
async function checkSeen({ hostPath, containerPath }: Mount): Promise<void> {
  const [, kind, part] = kubeletMounts.exec(`${hostPath}/`) ?? [];
  const isMount = part !== undefined || (kind !== undefined && !plainVolumes.includes(kind));
  if (isMount && (await isEmpty(hostPath)))
    throw unsupported(
      `the ${part ? 'subPath' : `${kind} volume`} at ${containerPath}`,
      'kubelet mounts it in its own machine, and a shared folder does not carry mounts to another one',
    );
}

/** True for an empty folder or file, as the kubelet creates them for mount points. */
async function isEmpty(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return found?.size === 0;
  return (await readdir(path)).length === 0;
}

function checkRecursive({ readonly, propagation: spread, containerPath }: Mount, able: MountAbilities): void {
  if (!readonly) throw invalid(`${containerPath}: recursive_read_only needs readonly`);
  if (spread !== 'PROPAGATION_PRIVATE')
    throw invalid(`${containerPath}: recursive_read_only needs private propagation`);
  if (!able.recursiveReadOnly)
    throw unsupported('recursive_read_only', 'the kernel of the sandbox is older than Linux 5.12');
}
