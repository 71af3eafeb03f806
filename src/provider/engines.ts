/** The differences between docker and podman, one table each. */
import type { EngineDifferences } from './engine.ts';
import type { NodePort } from './provider.ts';

const address = (port: NodePort): string => (port.address.includes(':') ? `[${port.address}]` : port.address);

export const docker: EngineDifferences = {
  name: 'docker',
  program: ['docker'],
  hint: 'Start the docker daemon, or set DOCKER_HOST. Check it with `docker version`.',
  privileged: ['--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined', '--init=false'],
  // closest to: restart after a reboot, but not after `docker stop`
  restart: ['--restart', 'on-failure:1'],
  networkOptions: ['--opt', 'com.docker.network.bridge.enable_ip_masquerade=true'],
  mtuOption: 'com.docker.network.driver.mtu',
  storage: (path) => ['--volume', path],
  publish: (port) => `${address(port)}:${port.hostPort || '0'}:${port.containerPort}/${port.protocol.toLowerCase()}`,
  stopTimeout: '--time',
  host: (info) => {
    const { CgroupVersion, SecurityOptions } = info as { CgroupVersion?: string; SecurityOptions?: string[] | null };
    return {
      rootless: (SecurityOptions ?? []).some((option) => option.split(',').includes('name=rootless')),
      cgroupVersion: CgroupVersion === '2' ? 2 : 1,
      // without systemd its limits (MemoryLimit, …) are false even if the controllers are delegated
      controllers: undefined,
    };
  },
  reference: (name) => name,
};

export const podman: EngineDifferences = {
  name: 'podman',
  program: ['podman'],
  hint: 'See `podman info`; without root it needs cgroup v2 with the cpu, memory and pids controllers delegated.',
  // podman prepares a container for systemd only when told, or when the command is exactly /sbin/init
  privileged: ['--systemd=always', '--env', 'container=podman'],
  restart: [],
  networkOptions: [],
  mtuOption: 'mtu',
  // not with --volume, which gives a volume without a name no options: it would be mounted without suid, dev and exec
  storage: (path) => ['--mount', `type=volume,destination=${path},suid,exec,dev`],
  publish: (port) => `${address(port)}:${port.hostPort || ''}:${port.containerPort}/${port.protocol.toLowerCase()}`,
  stopTimeout: '--time',
  host: (info) => {
    type Host = { cgroupVersion?: string; cgroupControllers?: string[] | null; security?: { rootless?: boolean } };
    const { host = {} } = info as { host?: Host };
    return {
      rootless: host.security?.rootless === true,
      cgroupVersion: host.cgroupVersion === 'v2' ? 2 : 1,
      controllers: host.cgroupControllers ?? undefined,
    };
  },
  saveLayout: (image, folder) => ['save', '--quiet', '--format=oci-dir', '--uncompressed', '--output', folder, image],
  // podman keeps docker.io names in full, and finds an image by digest only without its tag
  reference: (name) => name.replace(/:[^/:@]+(?=@sha256:)/, ''),
};
