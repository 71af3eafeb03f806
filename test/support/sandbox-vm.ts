/**
 * A sandbox in an emulated machine of the other architecture: its own kernel, cgroup v2, devtmpfs, the root on ext4, the
 * agent as the very first process. That is what Apple's runtime gives it, and what no container here can.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentClient } from '../../src/cri/agent/client.ts';
import { freePorts } from '../../src/host/ports.ts';
import { writeDisk } from '../../src/layers/image/disk.ts';
import { readContents } from '../../src/oci/image/contents.ts';
import { prepareKernel } from '../../src/ops/boot/vm/kernel.ts';
import { openWorkshop } from './build.ts';
import { projectRoot } from './command.ts';
import type { Place } from './containers.ts';

export interface SandboxMachine extends Place {
  /** The disk of the small image, in the machine. */
  readonly disk: string;
  close(): Promise<void>;
}

/** Needs qemu-system-aarch64 and a Debian mirror. Takes a minute or two. */
export async function bootSandbox(): Promise<SandboxMachine> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-sandbox-vm-'));
  const [port = 0] = await freePorts(['127.0.0.1']);
  const { kernel, initramfs } = await prepare(folder);
  const drive = (name: string, id: string) => [
    '-drive',
    `file=${join(folder, name)},if=none,id=${id},format=raw,cache=unsafe`,
    '-device',
    `virtio-blk-pci,drive=${id}`,
  ];
  const machine = spawn('qemu-system-aarch64', [
    '-M',
    'virt',
    '-cpu',
    'max,pauth-impdef=on',
    '-smp',
    '2',
    '-m',
    '1024',
    '-nographic',
    '-no-reboot',
    '-monitor',
    'none',
    '-serial',
    'stdio',
    '-netdev',
    `user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:7000`,
    '-device',
    'virtio-net-pci,netdev=n0,romfile=',
    '-kernel',
    kernel,
    '-initrd',
    initramfs,
    '-append',
    'console=ttyAMA0 root=/dev/vda rw net.ifnames=0 panic=-1',
    ...drive('root.ext4', 'd0'),
    ...drive('pod-image.ext4', 'd1'),
  ]);
  let console = '';
  for (const stream of [machine.stdout, machine.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      console += text;
    });
  const path = join(folder, 'agent.sock');
  const bridge = createServer((near) => {
    const far = createConnection(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  bridge.listen(path);
  await once(bridge, 'listening');
  const close = async () => {
    bridge.close();
    await ended(machine);
    await rm(folder, { recursive: true, force: true });
  };
  const client = new AgentClient(path);
  for (let left = 240; ; left--) {
    const answered = await client.call('hello', {}, { timeout: 5000 }).then(
      () => true,
      () => false,
    );
    if (answered) return { client, disk: '/dev/vdb', shared: folder, logs: async () => console, close };
    if (left === 0 || machine.exitCode !== null) {
      await close();
      throw new Error(`the agent does not answer:\n${console.slice(-4000)}`);
    }
    await sleep(500);
  }
}

async function prepare(folder: string): Promise<{ kernel: string; initramfs: string }> {
  const workshop = await openWorkshop();
  try {
    const { tools } = workshop;
    const build = async (recipe: string, name: string, size: number) => {
      const built = await workshop.build({ recipe: join(projectRoot, recipe), platforms: ['linux/arm64'] });
      const [image] = (await readContents(tools.store, built.index)).platforms;
      await writeDisk(tools.store, image!, join(folder, name), { size });
    };
    await build('test/integration/cri/pod-image.yaml', 'pod-image.ext4', 64 << 20);
    await build('test/e2e/sandbox-vm/recipe.yaml', 'root.ext4', 1 << 30);
    const argv = ['/usr/bin/python3', '-ISB', '/usr/lib/kina/bridge.py'];
    return await prepareKernel(tools, 'arm64', { hostname: 'sandbox', argv, env: ['PATH=/usr/sbin:/usr/bin'] }, folder);
  } finally {
    await workshop.close();
  }
}

async function ended(machine: ChildProcess): Promise<void> {
  if (machine.exitCode !== null || machine.signalCode !== null) return;
  const gone = once(machine, 'exit');
  machine.kill('SIGKILL');
  await gone;
}
