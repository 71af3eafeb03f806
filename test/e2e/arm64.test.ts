/**
 * The arm64 image read and run from another architecture: no file of the wrong machine, and the programs that a node
 * lives on start under user emulation with the image's own libraries.
 */
import { copyFile, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../support/command.ts';
import { openImage, unpackRoot } from '../support/image-root.ts';
import { buildNode, kubernetes } from '../support/images.ts';
import { describeWith, pathOf } from '../support/requirements.ts';

/** Beside the image's files, so that a chroot finds it. */
const emulator = '/emulator';

const needs = ['full tier', 'qemu-aarch64-static', 'bsdtar', 'root', 'release files'];

describeWith('the files of the arm64 image', needs, () => {
  let folder: string;
  let root: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-arm64-'));
    root = join(folder, 'root');
    const { archive } = await buildNode('arm64');
    await unpackRoot(await openImage(archive, 'arm64', join(folder, 'layout')), root);
    await copyFile(pathOf('qemu-aarch64-static')!, join(root, emulator));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('every ELF file is AArch64', async () => {
    let count = 0;
    const wrong: string[] = [];
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile() || path === join(root, emulator)) continue;
      const machine = await elfMachine(path);
      if (machine === undefined) continue;
      count++;
      if (machine !== aarch64) wrong.push(`${path.slice(root.length)}: machine ${machine}`);
    }
    expect(wrong).toEqual([]);
    expect(count).toBeGreaterThan(300);
  });

  const programs = [
    ['/usr/bin/kubelet', kubernetes.version],
    ['/usr/local/bin/containerd', '1.6.20'],
    ['/usr/bin/systemctl', 'systemd 257'],
    // not the nft variant: user emulation has no netlink for netfilter, which that one opens before anything else
    ['/usr/sbin/iptables-legacy', 'iptables v1.8'],
  ] as const;

  for (const [program, version] of programs)
    test(`${program} --version runs`, async () => {
      const result = await run(['chroot', root, emulator, program, '--version']);
      expect(result.stdout + result.stderr).toContain(version);
      expect(result.code).toBe(0);
    });
});

/** `e_machine` of an ELF file, and its value for this architecture; see elf(5). */
const aarch64 = 183;

async function elfMachine(path: string): Promise<number | undefined> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(20), 0, 20, 0);
    return bytesRead === 20 && buffer.readUInt32BE(0) === 0x7f454c46 ? buffer.readUInt16LE(18) : undefined;
  } finally {
    await file.close();
  }
}
