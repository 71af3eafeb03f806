/**
 * What a CRI service stands on in tests: podman as it is installed, a docker daemon of the test's own, or the stand-in for
 * Apple's container. What a service leaves behind is looked for here, in the engine, and not in what kina says.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodeLabels } from '../../../src/provider/provider.ts';
import { appleStandIn } from '../apple.ts';
import { type CommandResult, check, run } from '../command.ts';
import { type EngineName, engineRequirements, startDockerDaemon } from '../engine.ts';
import { podmanEnvironment } from '../requirements.ts';

export type CriProvider = EngineName | 'apple';

/** The requirements of `describeWith`. */
export const criRequirements = (provider: CriProvider): readonly string[] => [
  ...engineRequirements[provider === 'apple' ? 'podman' : provider],
  'docker-registry',
];

export interface CriHost {
  readonly provider: CriProvider;
  /** For `kina cri serve`. */
  readonly env: Readonly<Record<string, string>>;
  /** A network for sandboxes that no other run has. */
  readonly network: string;
  /** Address of this host in that network, once there is a sandbox or a service. */
  gateway(): Promise<string>;
  /** Machines of the service with this label, running or not, by the provider's names. */
  machines(service: string): Promise<string[]>;
  /** Volumes of sandboxes that no machine has. */
  orphanedVolumes(): Promise<string[]>;
  /** The unexpected end of a machine. */
  kill(machine: string): Promise<void>;
  close(): Promise<void>;
}

export async function openCriHost(provider: CriProvider): Promise<CriHost> {
  const daemon = provider === 'docker' ? await startDockerDaemon() : undefined;
  const apple = provider === 'apple' ? appleStandIn({ engine: true }) : undefined;
  const helped: Record<string, string> = provider !== 'docker' ? podmanEnvironment() : {};
  const env = { ...(daemon ? { DOCKER_HOST: daemon.socket } : {}), ...apple?.env, ...helped };
  const network = `kina-cri-${process.pid}-${randomBytes(2).toString('hex')}`;
  const engine = daemon ? 'docker' : 'podman';
  /** What the stand-in has on podman is named after it. */
  const own = (name: string): string => (apple ? `${apple.prefix}-${name}` : name);
  const call = (args: readonly string[]): Promise<string> => check([engine, ...args], { env });
  /** podman's lists fail when something is removed meanwhile. */
  const lines = async (args: readonly string[]): Promise<string[]> => {
    for (let left = 10; ; left--) {
      const { code, stdout, stderr } = await run([engine, ...args], { env });
      if (code === 0) return stdout.split('\n').filter(Boolean);
      if (left === 0 || !/no such/.test(stderr)) throw new Error(`${engine} ${args.join(' ')}: ${stderr}`);
    }
  };
  const unused = async (): Promise<string[]> => {
    const names = await lines(['volume', 'ls', '--quiet', '--filter', 'dangling=true']);
    return apple ? names.filter((name) => name.startsWith(apple.prefix)) : names;
  };
  /** Since this host was opened. */
  const orphaned = async (): Promise<string[]> => (await unused()).filter((name) => !before.has(name));
  const before = new Set(await unused());

  return {
    provider,
    env,
    network,
    async gateway() {
      type Network = { subnets?: { gateway: string }[]; IPAM?: { Config: { Gateway: string }[] } };
      const [found] = JSON.parse(await call(['network', 'inspect', own(network)])) as [Network];
      return found.subnets?.[0]?.gateway ?? found.IPAM!.Config[0]!.Gateway;
    },
    machines: async (service) => {
      // The stand-in has kina's labels in its own state only, and there is one service to each.
      const label = apple ? `kina-stand-in=${apple.prefix}` : `${nodeLabels.service}=${service}`;
      const names = await lines(['ps', '--all', '--filter', `label=${label}`, '--format', '{{.Names}}']);
      return names.map((name) => (apple ? name.slice(apple.prefix.length + 1) : name)).sort();
    },
    async orphanedVolumes() {
      const found = await orphaned();
      // podman is shared with its other users, and while a container is made its volume has none for a moment.
      if (provider !== 'podman' || found.length === 0) return found;
      await sleep(2000);
      return (await orphaned()).filter((name) => found.includes(name));
    },
    kill: async (machine) => void (await call(['kill', '--signal=KILL', own(machine)])),
    async close() {
      await run([engine, 'network', 'rm', own(network)], { env });
      if (apple) await removeImages((argv) => run(['container', ...argv], { env }));
      apple?.close();
      await daemon?.stop();
    },
  };
}

async function removeImages(container: (argv: readonly string[]) => Promise<CommandResult>): Promise<void> {
  const images = JSON.parse((await container(['image', 'list', '--format=json'])).stdout || '[]') as {
    configuration: { name: string };
  }[];
  for (const { configuration } of images) await container(['image', 'delete', '--force', configuration.name]);
}
