/**
 * A node image as a virtual machine, the one of `kina image test`, for tests that want more of it than its checks. The
 * image comes from an archive, as users get it; the kernel from the store that all end-to-end tests share.
 */
import { join } from 'node:path';
import { silent } from '../../src/host/progress.ts';
import { openArchive } from '../../src/oci/archive/open.ts';
import { type Architecture, parsePlatform } from '../../src/oci/platform.ts';
import { keepImage } from '../../src/oci/store/keep.ts';
import { bootMachine, type Machine } from '../../src/ops/boot/vm/machine.ts';
import { openSession } from '../../src/session/session.ts';
import { testCache } from './cache.ts';

export type Vm = Pick<Machine, 'exec' | 'console' | 'bootMs' | 'restart' | 'stop'>;

export interface VmOptions {
  /** An OCI archive or layout that holds the platform. */
  readonly archive: string;
  readonly platform: `linux/${Architecture}`;
  /** MiB. */
  readonly memory?: number;
  /** Start the image's entrypoint, as container runtimes do, instead of /sbin/init. */
  readonly entrypoint?: boolean;
  /** Modules that its kernel has not, and more words for its command line. */
  readonly without?: readonly string[];
  readonly commandLine?: string;
}

const emulators: Readonly<Record<Architecture, string>> = {
  arm64: 'qemu-system-aarch64',
  amd64: 'qemu-system-x86_64',
};

/** The requirements of `describeWith` for tests with a machine. */
export function vmRequirements(architecture: Architecture): string[] {
  return [emulators[architecture]];
}

/** Makes the disk, starts the machine and waits until it takes commands; init may still be busy then. */
export async function bootVm({ archive, platform, memory, entrypoint, ...kernel }: VmOptions): Promise<Vm> {
  const before = process.env.KINA_CACHE_DIR;
  process.env.KINA_CACHE_DIR = join(testCache, 'store');
  const tools = await openSession({ environment: process.env, reporter: silent, version: '0.0.0-test' }).finally(() => {
    if (before === undefined) delete process.env.KINA_CACHE_DIR;
    else process.env.KINA_CACHE_DIR = before;
  });
  try {
    const [found] = await openArchive(tools.store, archive);
    const [image] = (await keepImage(tools.store, found!, [parsePlatform(platform)])).contents.platforms;
    if (!image) throw new Error(`${archive} has no ${platform}`);
    return await bootMachine(tools, image, {
      ...(memory === undefined ? {} : { memory }),
      ...(entrypoint ? {} : { init: ['/sbin/init'] }),
      ...kernel,
    });
  } finally {
    await tools.transport.close();
  }
}
