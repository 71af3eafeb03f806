import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  imageSettings,
  readSettings,
  type ServeFlags,
  settingsFile,
} from '../../../src/cli/handlers/shared/cri-settings.ts';

let folder: string;
beforeEach(async () => {
  // not below TMPDIR, which may be too long for a root with sockets in it
  folder = await realpath(await mkdtemp('/tmp/kina-settings-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const nothing = {
  share: [],
  route: [],
  mirror: [],
  debianMirror: undefined,
  debianSecurityMirror: undefined,
  insecureRegistry: [],
  offline: false,
  verbosity: 0,
  quiet: false,
};
const read = (flags: Partial<ServeFlags>) =>
  readSettings({ ...nothing, root: join(folder, 'root'), share: [folder], ...flags }, {});

describe('the settings of `kina cri serve`', () => {
  it('have the same root before and after it is created, also through a link', async () => {
    await mkdir(join(folder, 'real'));
    await symlink('real', join(folder, 'link'));
    const root = join(folder, 'link', 'a', 'b');
    const before = await read({ root });
    expect(before.root).toBe(join(folder, 'real', 'a', 'b'));
    await mkdir(before.root, { recursive: true });
    expect((await read({ root })).root).toBe(before.root);
  });

  it('are all checked first, and each problem names its flag', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    const problems = read({
      socket: 'x.sock',
      provider: 'dokcer',
      root: join(folder, 'r'.repeat(60)),
      share: ['/no/where', file],
      cpus: '0',
      memory: '1e3',
      streamingPort: '65536',
      streamingAddress: '0.0.0.0',
      route: ['10.96.0.0/33=10.0.0.1', '10.96.0.0/16=fd00::1', '10.96.0.0/16=10.0.0.1'],
    });
    const { details } = await problems.catch((error) => error);
    expect(details).toEqual([
      '--cpus 0: expected a number of CPUs above 0',
      '--memory 1e3: expected whole MiB, 200 or more',
      '--streaming-port 65536: expected a port, 0 to 65535',
      expect.stringContaining('--socket x.sock: expected an absolute path'),
      expect.stringContaining('is longer than'),
      expect.stringContaining('cannot dial 0.0.0.0'),
      expect.stringContaining('--provider: unknown provider "dokcer"; did you mean "docker"?'),
      '--route 10.96.0.0/33=10.0.0.1: expected CIDR=GATEWAY, e.g. 10.96.0.0/16=192.168.64.2',
      '--route 10.96.0.0/16=fd00::1: expected CIDR=GATEWAY, e.g. 10.96.0.0/16=192.168.64.2',
      '--share /no/where: no such directory; create it before starting the service',
      `--share ${file}: not a directory`,
    ]);
  });

  it('can all be in a file, and flags override it', async () => {
    const config = join(folder, 'config.yaml');
    await writeFile(
      config,
      `{ sandboxImage: a/b:1, memory: 512, mirror: [https://m.example], debianMirror: https://d.example/debian,
         debianSecurityMirror: https://d.example/security, offline: true, insecureRegistry: ['r.example:5000'] }`,
    );
    expect(await read({ config, memory: '256' })).toMatchObject({
      sandboxImage: 'a/b:1',
      memory: 256,
      mirror: ['https://m.example'],
      offline: true,
      debianMirror: 'https://d.example/debian',
      debianSecurityMirror: 'https://d.example/security',
      insecureRegistry: ['r.example:5000'],
    });
    await writeFile(config, '');
    expect(await read({ config })).toEqual(
      expect.not.objectContaining({ memory: expect.anything(), mirror: expect.anything(), offline: expect.anything() }),
    );
    await writeFile(config, '{ memory: lots, sokcet: /x, streamingPort: 70000 }');
    await expect(read({ config })).rejects.toMatchObject({
      details: [
        'memory: expected whole MiB, 200 or more',
        'streamingPort: expected a port, 0 to 65535',
        expect.stringContaining('"sokcet"'),
      ],
      hint: expect.stringContaining('insecureRegistry'),
    });
  });

  it('do not share a folder twice', async () => {
    await mkdir(join(folder, 'below'));
    expect((await read({ share: [join(folder, 'below'), folder] })).shares).toEqual([folder]);
  });

  it('reach the process that builds the sandbox image as a settings file', async () => {
    const source = { mirror: ['https://m.example'], debianMirror: 'https://d.example/debian', offline: true };
    const settings = await read({ ...source, provider: 'podman', insecureRegistry: ['r.example:5000'] });
    const config = join(folder, 'settings.json');
    await writeFile(config, settingsFile(settings));
    const flags = { ...nothing, config, provider: undefined, sandboxImage: 'a/b:1' };
    expect(await imageSettings(flags)).toEqual({
      ...source,
      provider: 'podman',
      sandboxImage: 'a/b:1',
      insecureRegistry: ['r.example:5000'],
    });
  });
});
