/**
 * A node image in an emulated virtual machine with its own kernel: the closest equivalent of Apple's runtime on other
 * hosts, and the only way to boot an image of a different architecture. The image is not changed; see `guest.ts`. It
 * needs only qemu: no root, no KVM, no other program.
 */

import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Environment } from '../../../host/environment.ts';
import { KinaError } from '../../../host/errors.ts';
import { writeDisk } from '../../../layers/image/disk.ts';
import type { PlatformImage } from '../../../oci/image/contents.ts';
import type { Architecture } from '../../../oci/platform.ts';
import type { Session } from '../../../session/session.ts';
import type { BootTarget } from '../target.ts';
import { prepareKernel } from './kernel.ts';
import { startSession, type VmSession } from './session.ts';

export interface MachineOptions {
  /** In MiB; default 4096. */
  readonly memory?: number;
  readonly cpus?: number;
  /** Size of the root disk in GiB, which takes only the room of its files; default 12. */
  readonly disk?: number;
  readonly hostname?: string;
  /** Modules that the kernel lacks, with their dependents: simulates a different kernel. */
  readonly without?: readonly string[];
  /** Additional kernel parameters. */
  readonly commandLine?: string;
  /** Overrides the image's first process. */
  readonly init?: readonly string[];
  /** Seconds until systemd must be running; default 240. */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Machine extends BootTarget {
  /** Milliseconds from power-on until the agent was ready. */
  readonly bootMs: number;
  console(): string;
  /**
   * Shuts the machine down cleanly and starts it again with the same disk. With `network` (the first three numbers of a
   * /24), it gets a different address.
   */
  restart(network?: string): Promise<void>;
}

const machines: Readonly<
  Record<Architecture, { qemu: string; flags: readonly string[]; console: string; package: string }>
> = {
  arm64: {
    qemu: 'qemu-system-aarch64',
    // pauth-impdef: pointer authentication with qemu's own cheap hash; the architected one doubles the run time.
    flags: ['-M', 'virt', '-cpu', 'max,pauth-impdef=on'],
    console: 'ttyAMA0',
    package: 'qemu-system-arm',
  },
  amd64: {
    qemu: 'qemu-system-x86_64',
    flags: ['-M', 'q35', '-cpu', 'max'],
    console: 'ttyS0',
    package: 'qemu-system-x86',
  },
};

/** The emulator for an architecture; undefined if it is not installed. */
export async function emulatorOf(architecture: Architecture, environment: Environment): Promise<string | undefined> {
  for (const folder of (environment.PATH ?? '').split(delimiter)) {
    const path = join(folder, machines[architecture].qemu);
    const works = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (works) return path;
  }
  return undefined;
}

/** How to install the emulator. */
export function emulatorHint(architecture: Architecture): string {
  const { qemu, package: name } = machines[architecture];
  return `Install ${qemu} (Debian: ${name}, Homebrew: qemu).`;
}

/**
 * Creates the disk, starts the machine and waits until the agent is ready; init may still be busy then. Throws
 * `NodeEnded` if the image does not get that far.
 */
export async function bootMachine(
  session: Session,
  image: PlatformImage,
  options: MachineOptions = {},
): Promise<Machine> {
  const architecture = image.config.architecture as Architecture;
  const { flags, console: port, qemu } = machines[architecture];
  const emulator = await emulatorOf(architecture, session.environment);
  if (!emulator) throw new KinaError('provider', `${qemu} is not installed`, { hint: emulatorHint(architecture) });
  const { signal } = options;
  const folder = await mkdtemp(join(tmpdir(), 'kina-vm-'));
  let vmSession: VmSession | undefined;
  try {
    const { Entrypoint, Cmd, Env } = image.config.config ?? {};
    const own = [...(Entrypoint ?? []), ...(Cmd ?? [])];
    const argv = options.init ?? (own.length ? own : ['/sbin/init']);
    const { hostname = 'node', without = [] } = options;
    const start = { hostname, argv, env: Env ?? [], without };
    const kernel = await prepareKernel(session, architecture, start, folder);
    const disk = join(folder, 'root.ext4');
    await writeDisk(session.store, image, disk, { size: (options.disk ?? 12) * 2 ** 30, signal });
    const commandLine = [
      `console=${port} root=/dev/vda rw net.ifnames=0 panic=-1`,
      // A serial getty's device wait costs 90 s, because nothing reports the device.
      `systemd.mask=serial-getty@${port}.service`,
      ...(options.commandLine === undefined ? [] : [options.commandLine]),
    ];
    const socket = join(folder, 'agent');
    const command = (network: string): string[] => [
      emulator,
      ...flags,
      '-smp',
      String(options.cpus ?? 2),
      '-m',
      String(options.memory ?? 4096),
      '-nographic',
      '-no-reboot',
      '-monitor',
      'none',
      '-serial',
      'stdio',
      '-netdev',
      `user,id=n0,restrict=on,net=${network}.0/24`,
      '-device',
      'virtio-net-pci,netdev=n0,romfile=',
      '-kernel',
      kernel.kernel,
      '-initrd',
      kernel.initramfs,
      '-append',
      [...commandLine, `vm.network=${network}`].join(' '),
      '-drive',
      `file=${disk},if=none,id=d0,format=raw,cache=unsafe`,
      '-device',
      'virtio-blk-pci,drive=d0',
      '-device',
      'virtio-serial-pci',
      '-chardev',
      `socket,id=agent,path=${socket}`,
      '-device',
      'virtserialport,chardev=agent,name=vm.agent',
    ];
    const seconds = options.timeout ?? 240;
    let network = '10.0.2';
    const powerOn = (): Promise<VmSession> => startSession(command(network), { socket, seconds, signal });
    vmSession = await powerOn();
    let before = '';
    const text = (): string => before + vmSession!.console();
    return {
      title: `a virtual machine (${qemu}, Linux ${kernel.release})`,
      patience: 5,
      exec: (line, { timeout = 60 } = {}) => vmSession!.exec(line, timeout),
      console: text,
      logs: async () => text(),
      bootMs: vmSession.bootMs,
      stop: async () => {
        await vmSession?.stop();
        await rm(folder, { recursive: true, force: true });
      },
      restart: async (other = network) => {
        await vmSession!.exec('systemctl --no-block poweroff', 60);
        await vmSession!.exited(180);
        before = text();
        network = other;
        vmSession = await powerOn();
      },
    };
  } catch (error) {
    await vmSession?.stop();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
