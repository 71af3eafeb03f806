/**
 * A node image as a virtual machine of its own kernel, emulated when it has to be: the nearest thing to Apple's runtime
 * that Linux has. The image is unchanged; see `vm/init.sh` for what the machine does around it. Commands go through a
 * virtio-serial port to an agent in /run, so they work from before systemd is up until it is down.
 *
 * Measured on two x86-64 cores without KVM, an arm64 Debian 13 with containerd: disk 8 s, power-on to first command 11 s,
 * to the end of the boot 18 s.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openImage, writeRootDisk } from './vm-disk.ts';
import { type Architecture, prepareKernel } from './vm-kernel.ts';
import { type Session, startSession, type VmResult } from './vm-session.ts';

export interface VmOptions {
  /** An OCI archive or layout that holds the platform. */
  readonly archive: string;
  readonly platform: `linux/${Architecture}`;
  /** MiB. */
  readonly memory?: number;
  readonly cpus?: number;
  /** GiB of the root disk; sparse. */
  readonly disk?: number;
  readonly hostname?: string;
  /** Start the image's entrypoint, as container runtimes do, instead of /sbin/init. */
  readonly entrypoint?: boolean;
  /** Seconds until the machine has to listen. */
  readonly timeout?: number;
}

export interface Vm {
  /** Runs a shell command in the machine as root; a command that outlives `timeout` seconds (60) has code 143. */
  exec(command: string, options?: { readonly timeout?: number }): Promise<VmResult>;
  /** Everything that kernel and init wrote to the console so far. */
  console(): string;
  /** Milliseconds from power-on until the agent listened. */
  readonly bootMs: number;
  /** Shuts the machine down as its owner would and starts it again with the same disk. */
  restart(): Promise<void>;
  /** Power off, at once, and remove the disk. Safe to call twice. */
  stop(): Promise<void>;
}

interface Machine {
  readonly qemu: string;
  readonly arguments: readonly string[];
  readonly console: string;
}

const machines: Readonly<Record<Architecture, Machine>> = {
  arm64: {
    qemu: 'qemu-system-aarch64',
    // pauth-impdef: pointer authentication with qemu's own cheap hash; the architected one doubles the run time
    arguments: ['-M', 'virt', '-cpu', 'max,pauth-impdef=on'],
    console: 'ttyAMA0',
  },
  amd64: { qemu: 'qemu-system-x86_64', arguments: ['-M', 'q35', '-cpu', 'max'], console: 'ttyS0' },
};

/** The requirements of `describeWith` for tests with a machine. */
export function vmRequirements(architecture: Architecture): string[] {
  return [machines[architecture].qemu, 'bsdtar', 'xz', 'mke2fs', 'root or fakeroot'];
}

/** Makes the disk, starts the machine and waits until it takes commands; init may still be busy then. */
export async function bootVm(options: VmOptions): Promise<Vm> {
  const architecture = options.platform.slice('linux/'.length) as Architecture;
  const folder = await mkdtemp(join(tmpdir(), 'kina-vm-'));
  let session: Session | undefined;
  try {
    const kernel = await prepareKernel(architecture, folder);
    const image = await openImage(options.archive, architecture, join(folder, 'layout'));
    const disk = join(folder, 'root.ext4');
    await writeRootDisk(image, disk, options.disk ?? 12);
    await rm(join(folder, 'layout'), { recursive: true, force: true });
    const init = options.entrypoint ? (image.config.config.Entrypoint ?? []) : ['/sbin/init'];
    const machine = machines[architecture];
    const commandLine = [
      `console=${machine.console} root=/dev/vda rw net.ifnames=0 panic=-1`,
      // the device wait of a serial getty costs 90 s when nothing reports the device
      `systemd.mask=serial-getty@${machine.console}.service`,
      `vm.hostname=${options.hostname ?? 'node'} vm.init=${init.join(',')}`,
    ];
    const argv = [
      ...machine.arguments,
      ...['-smp', String(options.cpus ?? 2), '-m', String(options.memory ?? 4096)],
      ...['-nographic', '-no-reboot', '-monitor', 'none', '-serial', 'stdio'],
      ...['-netdev', 'user,id=n0,restrict=on', '-device', 'virtio-net-pci,netdev=n0,romfile='],
      ...['-kernel', kernel.kernel, '-initrd', kernel.initramfs, '-append', commandLine.join(' ')],
      ...['-drive', `file=${disk},if=none,id=d0,format=raw,cache=unsafe`, '-device', 'virtio-blk-pci,drive=d0'],
      ...['-device', 'virtio-serial-pci', '-chardev', `socket,id=agent,path=${join(folder, 'agent')}`],
      ...['-device', 'virtserialport,chardev=agent,name=vm.agent'],
    ];
    const start = () => startSession(machine.qemu, argv, join(folder, 'agent'), options.timeout ?? 240);
    session = await start();
    let log = '';
    const stop = async () => {
      await session?.stop();
      await rm(folder, { recursive: true, force: true });
    };
    return {
      exec: (command, { timeout = 60 } = {}) => session!.exec(command, timeout),
      console: () => log + session!.console(),
      bootMs: session.bootMs,
      stop,
      restart: async () => {
        await session!.exec('systemctl --no-block poweroff', 60);
        await session!.exited(180);
        log += session!.console();
        session = await start();
      },
    };
  } catch (error) {
    await session?.stop();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
