/**
 * Converts a CRI container configuration to an OCI runtime configuration (config.json, runtime-spec 1.0). Three parts are
 * missing because only the sandbox knows them: the path of the root file system, the paths of namespaces, and the cgroup.
 * Reads host paths, but creates nothing.
 */
import type { ContainerConfig, LinuxContainerSecurityContext, PodSandboxConfig } from '../api/messages.ts';
import { invalid, RpcError, unsupported } from '../api/status.ts';
import { type AccountFiles, processUser } from './accounts.ts';
import { byDepth, podFileMounts, systemMounts, volumeMounts } from './mounts.ts';
import { resolverConfiguration } from './pod-files.ts';
import { capabilities, refuseAppArmor, seccomp } from './privileges.ts';
import { ociResources } from './resources.ts';
import { userNamespace } from './user-namespace.ts';

/** As in an OCI image configuration's `config`. */
export interface ImageDefaults {
  readonly Entrypoint?: readonly string[] | null | undefined;
  readonly Cmd?: readonly string[] | null | undefined;
  readonly Env?: readonly string[] | null | undefined;
  readonly WorkingDir?: string | null | undefined;
  readonly User?: string | null | undefined;
  readonly StopSignal?: string | null | undefined;
}

/** Capabilities of the sandbox, as the agent reports them. */
export interface SandboxAbilities {
  readonly capabilities: readonly string[];
  readonly recursiveReadOnly: boolean;
  readonly mountsSpread: boolean;
  readonly userNamespaces: boolean;
}

export interface ContainerSpec {
  readonly config: OciConfig;
  /** References of images that are mounted. */
  readonly images: string[];
}

export interface OciProcess {
  args: string[];
  cwd: string;
  env: string[];
  terminal: boolean;
  user: { uid: number; gid: number; additionalGids: number[] };
  capabilities?: object;
  noNewPrivileges: boolean;
  oomScoreAdj?: number;
}

export interface OciConfig {
  ociVersion: '1.0.2';
  process: OciProcess;
  root: { path: string; readonly: boolean };
  mounts: object[];
  linux: Record<string, unknown>;
}

const usualPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const noContext: LinuxContainerSecurityContext = {
  capabilities: null,
  privileged: false,
  namespaceOptions: null,
  selinuxOptions: null,
  runAsUser: null,
  runAsGroup: null,
  runAsUsername: '',
  readonlyRootfs: false,
  supplementalGroups: [],
  supplementalGroupsPolicy: 'Merge',
  noNewPrivs: false,
  maskedPaths: [],
  readonlyPaths: [],
  seccomp: null,
  apparmor: null,
  apparmorProfile: '',
  seccompProfilePath: '',
};

/** Throws RpcError for settings that a sandbox cannot honor. */
function refuseUnsupported(
  { devices, CDIDevices }: ContainerConfig,
  pod: PodSandboxConfig,
  context: LinuxContainerSecurityContext,
): void {
  const { privileged } = context;
  if (privileged && !pod.linux?.securityContext?.privileged)
    throw invalid('a privileged container needs a privileged sandbox');
  if (devices.length > 0 && !privileged)
    throw unsupported('devices', 'a sandbox does not have the devices of the host');
  if (CDIDevices.length > 0) throw unsupported('CDI devices', 'a sandbox does not have the devices of the host');
  refuseAppArmor(context);
}

/** `shares`: the host's folders that this sandbox has. Throws RpcError for an unsupported setting, before anything is created. */
export async function containerSpec(
  container: ContainerConfig,
  pod: PodSandboxConfig,
  image: ImageDefaults & AccountFiles,
  shares: readonly string[],
  able: SandboxAbilities,
): Promise<ContainerSpec> {
  const context = container.linux?.securityContext ?? noContext;
  const { privileged } = context;
  refuseUnsupported(container, pod, context);
  const held = capabilities(context.capabilities, privileged, able.capabilities);
  const user = processUser(context, image.User ?? '', image);
  const volumes = await volumeMounts(container.mounts, shares, able);
  const filter = await seccomp(context, held.bounding);
  const users = userNamespace(context.namespaceOptions, able.userNamespaces);
  const resources = container.linux?.resources ?? null;
  const hidden = privileged ? [] : context.maskedPaths;
  return {
    images: volumes.images,
    config: {
      ociVersion: '1.0.2',
      process: {
        args: commandLine(container, image),
        cwd: container.workingDir || image.WorkingDir || '/',
        env: environment(container, image, pod.hostname, user.home),
        terminal: container.tty,
        user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
        capabilities: held,
        noNewPrivileges: context.noNewPrivs,
        ...(resources ? { oomScoreAdj: resources.oomScoreAdj } : {}),
      },
      root: { path: '', readonly: context.readonlyRootfs },
      mounts: [
        ...systemMounts(privileged, users !== undefined),
        ...byDepth([
          ...podFileMounts(
            container.mounts,
            context.readonlyRootfs,
            resolverConfiguration(pod.dnsConfig) !== undefined,
          ),
          ...volumes.mounts,
        ]),
      ],
      linux: {
        resources: {
          ...ociResources(resources),
          devices: privileged ? [{ allow: true, access: 'rwm' }] : usualDevices,
        },
        namespaces: [{ type: 'mount' }, { type: 'cgroup' }, ...(users ? [{ type: 'user' }] : [])],
        ...users,
        ...(filter ? { seccomp: filter } : {}),
        maskedPaths: hidden,
        readonlyPaths: privileged ? [] : context.readonlyPaths,
      },
    },
  };
}

/** Character devices that every container has or may create; all others are refused. */
const usualDevices = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  // null, zero, full, random, urandom, tty; /dev/ptmx; pseudo terminals
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 2],
  ].map(([major, minor]) => ({
    allow: true,
    type: 'c',
    access: 'rwm',
    major,
    minor,
  })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

/** As in pods: a command replaces the image's entrypoint and arguments; arguments replace only the arguments. */
function commandLine({ command, args }: ContainerConfig, image: ImageDefaults): string[] {
  const entry = command.length > 0 ? command : [...(image.Entrypoint ?? [])];
  const rest = args.length > 0 || command.length > 0 ? args : [...(image.Cmd ?? [])];
  const line = [...entry, ...rest];
  if (line.length === 0)
    throw new RpcError('INVALID_ARGUMENT', 'no command: neither the container nor its image says what to run');
  return line;
}

/** If a name occurs twice, the last value is used. */
function environment(
  container: ContainerConfig,
  image: ImageDefaults,
  hostname: string,
  home: string | undefined,
): string[] {
  const all = [
    `PATH=${usualPath}`,
    ...(container.tty ? ['TERM=xterm'] : []),
    ...(hostname ? [`HOSTNAME=${hostname}`] : []),
    ...(home ? [`HOME=${home}`] : []),
    ...(image.Env ?? []),
    ...container.envs.map(({ key, value }) => `${key}=${Buffer.from(value).toString()}`),
  ];
  return [...new Map(all.map((one) => [one.split('=', 1)[0]!, one])).values()];
}

/** An additional process in a container: like its first process, with a different command line. */
export function execProcess(first: OciProcess, args: readonly string[], terminal: boolean): OciProcess {
  if (args.length === 0) throw invalid('no command to run');
  const env = first.env.filter((one) => !one.startsWith('TERM='));
  return { ...first, args: [...args], terminal, env: terminal ? [...env, 'TERM=xterm'] : env };
}
