import { describe, expect, test } from 'vitest';
import { silent } from '../../../src/host/progress.ts';
import { assemble } from '../../../src/layers/assemble.ts';
import type { PinnedStep } from '../../../src/layers/kind.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { readAll } from '../../../src/tree/entry.ts';
import { assembleOptions, pinnedStep } from '../../support/steps.ts';

const step = pinnedStep;
const put = (id: string, path: string, content: string, extra: object = {}, replace = false) =>
  step(id, 'file', { path, content, ...extra }, replace);
const folder = (id: string, paths: Record<string, string>) => step(id, 'directories', { paths });

async function build(layers: Record<string, PinnedStep[]>, architecture: 'amd64' | 'arm64' = 'arm64') {
  const assembled = await assemble(
    Object.entries(layers).map(([name, steps]) => ({ name, steps })),
    assembleOptions({ platform: platformOf(architecture), reporter: silent, epoch: 0 }),
  );
  return assembled.layers;
}
const names = (layers: Awaited<ReturnType<typeof build>>): Record<string, string[]> =>
  Object.fromEntries(layers.map((l) => [l.name, l.entries.map((e) => e.path)]));

describe('cutting layers', () => {
  test('each layer lists the parents it needs, once, with the attributes of the merged tree', async () => {
    const layers = await build({
      base: [folder('base/d', { root: '0700', 'var/mail': '2775' })],
      user: [put('user/f', 'root/.profile', 'x'), put('user/g', 'var/mail/me', 'y')],
    });
    expect(names(layers)).toEqual({
      base: ['root', 'var', 'var/mail'],
      user: ['root', 'root/.profile', 'var', 'var/mail', 'var/mail/me'],
    });
    expect(layers[1]!.entries.find((e) => e.path === 'root')!.mode).toBe(0o700);
    expect(layers[1]!.entries.find((e) => e.path === 'var/mail')!.mode).toBe(0o2775);
  });

  test('a path through a link of another layer is stored under its real name', async () => {
    const layers = await build({
      base: [folder('base/d', { 'usr/bin': '0755' }), step('base/l', 'symlinks', { links: { bin: 'usr/bin' } })],
      user: [put('user/f', 'bin/tool', 'x')],
    });
    expect(names(layers).user).toEqual(['usr', 'usr/bin', 'usr/bin/tool']);
  });

  test('a layer whose steps bring nothing is left out', async () => {
    expect(names(await build({ base: [put('base/f', 'a', 'x')], none: [] }))).toEqual({ base: ['a'] });
  });

  test('layers do not overlap: what is replaced leaves the layer below', async () => {
    const layers = await build({
      base: [put('base/f', 'etc/x', 'old')],
      user: [put('user/f', 'etc/x', 'new', {}, true)],
    });
    expect(names(layers)).toEqual({ user: ['etc', 'etc/x'] });
    const entry = layers[0]!.entries[1]!;
    expect(entry.type === 'file' && (await readAll(entry.content)).toString()).toBe('new');
  });
});

describe('conflicts', () => {
  test('two owners of one path are named, with what they have', async () => {
    await expect(
      build({ base: [put('base/f', 'etc/x', 'old')], user: [put('user/f', 'etc/x', 'new')] }),
    ).rejects.toMatchObject({
      code: 'conflict',
      message: 'two owners for /etc/x: base/f and user/f',
      details: ['base/f: file 0644 0:0 3 bytes', 'user/f: file 0644 0:0 3 bytes'],
    });
  });

  test('the same file twice is not a conflict', async () => {
    expect(names(await build({ base: [put('base/f', 'x', 'same')], user: [put('user/f', 'x', 'same')] }))).toEqual({
      base: ['x'],
    });
  });

  test('a file below a file', async () => {
    await expect(build({ base: [put('base/f', 'etc', 'x'), put('base/g', 'etc/y', 'x')] })).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('executables', () => {
  const elf = (machine: number): string => {
    const header = Buffer.alloc(64);
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    header.writeUInt16LE(2, 16);
    header.writeUInt16LE(machine, 18);
    header.writeUInt32LE(1, 20);
    header.writeUInt16LE(64, 52);
    return header.toString('latin1');
  };
  test('of another architecture are refused', async () => {
    await expect(build({ base: [put('base/tool', 'usr/bin/tool', elf(62), { mode: '0755' })] })).rejects.toMatchObject({
      code: 'platform',
      message: expect.stringContaining('/usr/bin/tool (base/tool) is for x86-64'),
    });
    const same = build({ base: [put('base/tool', 'usr/bin/tool', elf(62), { mode: '0755' })] }, 'amd64');
    await expect(same).resolves.toBeDefined();
  });
});

describe('systemd units', () => {
  const unit =
    '[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target \\\n  other.target\nAlias=alias.service\n';
  test('are enabled by the links their [Install] section asks for, wherever the unit came from', async () => {
    const layers = await build({
      base: [put('base/u', 'usr/lib/systemd/system/a.service', unit)],
      node: [
        step('node/systemd', 'systemd', {
          enable: ['a.service'],
          mask: ['b.service'],
          defaultTarget: 'multi-user.target',
        }),
      ],
    });
    const links = Object.fromEntries(
      layers[1]!.entries.flatMap((e) =>
        e.type === 'symlink' ? [[e.path.replace('etc/systemd/system/', ''), e.target]] : [],
      ),
    );
    expect(links).toEqual({
      'alias.service': '/usr/lib/systemd/system/a.service',
      'b.service': '/dev/null',
      'default.target': '/usr/lib/systemd/system/multi-user.target',
      'multi-user.target.wants/a.service': '/usr/lib/systemd/system/a.service',
      'other.target.wants/a.service': '/usr/lib/systemd/system/a.service',
    });
  });

  test('that no layer has, or that cannot be enabled, are errors', async () => {
    const base = [
      put('base/u', 'usr/lib/systemd/system/containerd.service', unit),
      put('base/v', 'usr/lib/systemd/system/static.service', '[Unit]\n'),
    ];
    await expect(build({ base, node: [step('n', 'systemd', { enable: ['contianerd.service'] })] })).rejects.toThrow(
      'did you mean "containerd.service"?',
    );
    await expect(build({ base, node: [step('n', 'systemd', { enable: ['static.service'] })] })).rejects.toThrow(
      'no [Install] section',
    );
  });

  // Its link would have to lie where the unit lies: the mask was lost without a word, and the unit ran.
  test('cannot be masked where their own file lies', async () => {
    const base = [put('base/u', 'etc/systemd/system/containerd.service', unit)];
    await expect(build({ base, node: [step('n', 'systemd', { mask: ['containerd.service'] })] })).rejects.toThrow(
      'cannot mask containerd.service: base/u brings etc/systemd/system/containerd.service itself',
    );
  });
});
