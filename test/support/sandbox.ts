/**
 * A pod's sandbox under podman as the CRI service makes one, from the shipped recipe, and a small image's disk for its
 * containers. Both are built in this process. Everything carries a name that no other run has, and `close` removes it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll } from 'vitest';
import { AgentClient } from '../../src/cri/agent/client.ts';
import { inSandbox, type SandboxSetup } from '../../src/cri/agent/protocol.ts';
import { writeDisk } from '../../src/layers/image/disk.ts';
import { readContents } from '../../src/oci/image/contents.ts';
import { writeOutput } from '../../src/oci/output/output.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { storeImage } from '../../src/oci/store/image.ts';
import { openWorkshop } from './build.ts';
import { check, projectRoot, run } from './command.ts';
import { Containers, type Place } from './containers.ts';
import { describeUnless, missing, noDebianMirror, podmanEnvironment } from './requirements.ts';

interface Sandbox extends Place {
  readonly name: string;
  /** The first process's number on this machine. */
  pid(): Promise<number>;
  remove(): Promise<void>;
}

interface SandboxHouse {
  /** The disk's path inside of every sandbox. */
  readonly disk: string;
  sandbox(): Promise<Sandbox>;
  close(): Promise<void>;
}

/** What the tests of one suite share; there from `beforeAll` on. */
interface SandboxSite {
  readonly house: SandboxHouse;
  readonly sandbox: Sandbox;
  readonly pod: Containers;
}

const reason = missing(['podman', 'root']) ?? (await noDebianMirror());

/** `describe` with one sandbox for all tests, set up this way; loudly skipped where there can be none. */
export function describeInSandbox(title: string, setup: SandboxSetup, body: (site: SandboxSite) => void): void {
  describeUnless(reason, title, () => {
    const site = {} as { -readonly [K in keyof SandboxSite]: SandboxSite[K] };
    beforeAll(async () => {
      site.house = await openSandboxHouse();
      site.sandbox = await site.house.sandbox();
      site.pod = new Containers(site.sandbox, site.house.disk);
      await site.sandbox.client.call('configure', setup);
    });
    afterAll(() => site.house?.close());
    body(site);
  });
}

const env: Record<string, string> = podmanEnvironment();
const podman = (...args: string[]): Promise<string> => check(['podman', ...args], { env });

/** Builds both images; needs podman and a Debian mirror. */
async function openSandboxHouse(): Promise<SandboxHouse> {
  const prefix = `kina-agent-${process.pid}-${randomBytes(3).toString('hex')}`;
  const folder = await mkdtemp(join(tmpdir(), 'kina-sandboxes-'));
  const reference = `localhost/${prefix}:test`;
  const images = join(folder, 'images');
  await mkdir(images);
  await buildImages(folder, images, reference);
  const sandboxes = new Set<Sandbox>();

  return {
    disk: `${inSandbox.images}/pod-image.ext4`,
    async sandbox() {
      const name = `${prefix}-${sandboxes.size + 1}`;
      const shared = join(folder, name, 'shared');
      const sockets = join(folder, name, 'socket');
      await mkdir(shared, { recursive: true });
      await mkdir(sockets);
      const client = new AgentClient(join(sockets, 'agent.sock'));
      const sandbox: Sandbox = {
        name,
        client,
        shared,
        pid: async () => Number(await podman('inspect', '--format', '{{.State.Pid}}', name)),
        logs: async () => {
          const { stdout, stderr } = await run(['podman', 'logs', name], { env });
          return stdout + stderr;
        },
        async remove() {
          sandboxes.delete(sandbox);
          await run(['podman', 'rm', '--force', '--time', '0', '--volumes', name], { env });
          await run(['podman', 'volume', 'rm', '--force', name], { env });
        },
      };
      sandboxes.add(sandbox);
      const binds = [
        `${shared}:${inSandbox.shared}`,
        `${sockets}:/var/lib/kina/socket`,
        `${images}:${inSandbox.images}:ro`,
      ];
      await podman(
        'run',
        '--detach',
        '--name',
        name,
        '--privileged',
        '--cgroupns=private',
        '--network=none',
        ...binds.flatMap((bind) => ['--volume', bind]),
        '--volume',
        `${name}:${inSandbox.containers}:suid,exec,dev`,
        reference,
      );
      for (let left = 200; !existsSync(join(sockets, 'agent.sock')); left--) {
        if (left === 0) throw new Error(`the agent does not listen:\n${await sandbox.logs()}`);
        await sleep(25);
      }
      return sandbox;
    },
    async close() {
      for (const sandbox of sandboxes) await sandbox.remove();
      await run(['podman', 'rmi', reference], { env });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function buildImages(folder: string, images: string, reference: string): Promise<void> {
  const workshop = await openWorkshop();
  try {
    const platforms = [`linux/${hostPlatform().architecture}`];
    const { store } = workshop.tools;
    const pod = await workshop.build({ recipe: join(projectRoot, 'test/integration/cri/pod-image.yaml'), platforms });
    const [image] = (await readContents(store, pod.index)).platforms;
    await writeDisk(store, image!, join(images, 'pod-image.ext4'), { size: 64 << 20 });
    const sandbox = await workshop.build({ recipe: 'sandbox', platforms });
    const dest = join(folder, 'sandbox.tar');
    await writeOutput({ store, image: storeImage(store, sandbox.index), refs: [reference], type: 'oci-archive', dest });
    await podman('load', '--quiet', '--input', dest);
  } finally {
    await workshop.close();
  }
}
