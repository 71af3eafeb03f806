import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ContainerConfig, Mount, PodSandboxConfig, UserNamespace } from '../../../src/cri/api/messages.ts';
import { processUser } from '../../../src/cri/spec/accounts.ts';
import { containerSpec, execProcess, noContext } from '../../../src/cri/spec/container.ts';
import { byDepth, volumeMounts } from '../../../src/cri/spec/mounts.ts';
import { capabilities, refuseAppArmor, seccomp } from '../../../src/cri/spec/privileges.ts';
import { mergedResources, ociResources } from '../../../src/cri/spec/resources.ts';
import { outermost, pathInSandbox } from '../../../src/cri/spec/shares.ts';
import { userNamespace } from '../../../src/cri/spec/user-namespace.ts';

const image = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n',
  group: 'root:x:0:\nwww-data:x:33:\nmedia:x:44:www-data,root\nstaff:x:50:\n',
};

describe('who a container runs as', () => {
  const of = (user: string, wishes = {}) => processUser(wishes, user, image);

  it('is root with the groups that the image gives root, by default', () => {
    expect(of('')).toEqual({ uid: 0, gid: 0, additionalGids: [0, 44], home: '/root' });
  });

  it('is what the image says: names, numbers, with and without a group', () => {
    expect(of('www-data')).toMatchObject({ uid: 33, gid: 33, additionalGids: [33, 44], home: '/var/www' });
    expect(of('33')).toMatchObject({ uid: 33, gid: 33 });
    expect(of('1234')).toEqual({ uid: 1234, gid: 0, additionalGids: [0], home: undefined });
    expect(of('www-data:staff')).toMatchObject({ uid: 33, gid: 50 });
    expect(of('1003:1004')).toMatchObject({ uid: 1003, gid: 1004 });
  });

  it('is what the pod says, over the image; zero is a wish, not its absence', () => {
    expect(of('www-data', { runAsUser: { value: 0 } })).toMatchObject({ uid: 0, gid: 0 });
    expect(of('', { runAsUsername: 'www-data' })).toMatchObject({ uid: 33 });
    expect(of('www-data', { runAsUser: { value: 7 }, runAsGroup: { value: 8 } })).toMatchObject({ uid: 7, gid: 8 });
  });

  it('has the groups of the image only where they are merged', () => {
    const groups = { supplementalGroups: [1234] };
    expect(of('www-data', groups).additionalGids).toEqual([33, 44, 1234]);
    expect(of('www-data', { ...groups, supplementalGroupsPolicy: 'Strict' }).additionalGids).toEqual([33, 1234]);
  });

  it('is refused when it is not in the image, or is a group without a user', () => {
    expect(() => of('nobody')).toThrow('the image has no user "nobody"');
    expect(() => of('root:nobody')).toThrow('the image has no group "nobody"');
    expect(() => of('', { runAsGroup: { value: 5 } })).toThrow('run_as_group needs run_as_user');
    expect(processUser({}, 'root', { passwd: '', group: '' })).toMatchObject({ uid: 0, gid: 0 });
  });
});

describe('capabilities', () => {
  const all = ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN'];
  const wish = (add: string[], drop: string[] = [], ambient: string[] = []) => ({
    addCapabilities: add,
    dropCapabilities: drop,
    addAmbientCapabilities: ambient,
  });

  it('are the usual ones that the sandbox has itself', () => {
    expect(capabilities(null, false, all).effective).toEqual(['CAP_CHOWN', 'CAP_KILL']);
    expect(capabilities(null, true, all).effective).toEqual(all);
  });

  it('come and go by name, any case, with and without prefix; ALL first', () => {
    expect(capabilities(wish(['net_admin'], ['CAP_KILL']), false, all).bounding).toEqual([
      'CAP_CHOWN',
      'CAP_NET_ADMIN',
    ]);
    expect(capabilities(wish(['NET_ADMIN'], ['ALL']), false, all).bounding).toEqual(['CAP_NET_ADMIN']);
    expect(capabilities(wish(['ALL'], ['KILL']), false, all).bounding).toEqual([
      'CAP_CHOWN',
      'CAP_NET_ADMIN',
      'CAP_SYS_ADMIN',
    ]);
    expect(capabilities(wish([], [], ['NET_ADMIN']), false, all)).toMatchObject({
      ambient: ['CAP_NET_ADMIN'],
      inheritable: ['CAP_NET_ADMIN'],
      permitted: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_ADMIN'],
    });
    expect(() => capabilities(wish(['net admin']), false, all)).toThrow('"CAP_NET ADMIN" is not a capability');
    expect(() => capabilities(wish([], ['NET_ADMN']), false, all)).toThrow('"CAP_NET_ADMN" is not a capability');
    // one that the kernel knows and this sandbox has not is the agent's to leave out
    expect(capabilities(wish(['SYS_RESOURCE']), false, all).bounding).toContain('CAP_SYS_RESOURCE');
  });
});

describe('system call filters', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-spec-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const of = (wish: object, held: string[] = []) => seccomp({ ...noContext, ...wish }, held);
  const profile = (profileType: 'RuntimeDefault' | 'Unconfined' | 'Localhost', localhostRef = '') => ({
    seccomp: { profileType, localhostRef },
  });

  it('not requested: none, as CRI says', async () => {
    expect(await of({})).toBeUndefined();
    expect(await of(profile('Unconfined'))).toBeUndefined();
    expect(await of({ ...profile('RuntimeDefault'), privileged: true })).toBeUndefined();
  });

  it('a capability of its own lets a container use it', async () => {
    const names = async (held: string[]) =>
      ((await of(profile('RuntimeDefault'), held)) as { syscalls: { names: string[] }[] }).syscalls.flatMap(
        (s) => s.names,
      );
    expect(await names([])).toEqual(expect.arrayContaining(['mount', 'reboot', 'clone', 'keyctl']));
    const privileged = await names(['CAP_SYS_ADMIN']);
    expect(privileged).not.toContain('mount');
    expect(privileged).not.toContain('clone');
    expect(privileged).toContain('reboot');
  });

  it('new namespaces are refused flag by flag; ordinary threads are not', async () => {
    const { syscalls } = (await of(profile('RuntimeDefault'))) as {
      syscalls: { names: string[]; args?: { value: number; valueTwo: number; op: string }[] }[];
    };
    const masks = syscalls.filter((one) => one.names.includes('clone')).map((one) => one.args?.[0]?.value ?? 0);
    // CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: linux/sched.h
    expect(masks).toEqual([0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]);
    const thread = 0x3d0f00; // of pthread_create
    expect(masks.some((mask) => (thread & mask) === mask)).toBe(false);
  });

  it('is for programs of 32 bits too, which libseccomp kills otherwise', async () => {
    const { architectures } = (await of(profile('RuntimeDefault'))) as { architectures: string[] };
    const [own, narrow] = process.arch === 'arm64' ? ['AARCH64', 'ARM'] : ['X86_64', 'X86'];
    expect(architectures).toEqual(expect.arrayContaining([`SCMP_ARCH_${own}`, `SCMP_ARCH_${narrow}`]));
  });

  it("a profile of the host is read here, where it is; one that is not there is the pod's trouble", async () => {
    const path = join(folder, 'profile.json');
    await writeFile(path, '{"defaultAction":"SCMP_ACT_ALLOW"}');
    const read = { defaultAction: 'SCMP_ACT_ALLOW' };
    expect(await of(profile('Localhost', path))).toEqual(read);
    expect(await of({ seccompProfilePath: `localhost/${path}` })).toEqual(read);
    await expect(of(profile('Localhost', join(folder, 'none')))).rejects.toThrow(
      /seccomp profile .*none cannot be used/,
    );
    await expect(of({ seccompProfilePath: 'typo' })).rejects.toThrow('"typo" is not a seccomp profile');
  });

  it('AppArmor profiles of the host are refused; by default there is no profile', () => {
    expect(() => refuseAppArmor({ apparmor: null, apparmorProfile: 'localhost/strict' })).toThrow(
      /AppArmor profile localhost\/strict is not supported/,
    );
    expect(() => refuseAppArmor({ apparmor: null, apparmorProfile: 'runtime/default' })).not.toThrow();
  });
});

describe('user namespaces', () => {
  const range = { containerId: 0, hostId: 65536, length: 65536 };
  const of = (wish: Partial<UserNamespace>, able = true) =>
    userNamespace(
      {
        network: 'POD',
        pid: 'POD',
        ipc: 'POD',
        targetId: '',
        usernsOptions: { mode: 'POD', uids: [range], gids: [range], ...wish },
      },
      able,
    );

  it("a pod's range becomes the container's; the range of the node means no mapping", () => {
    const mapping = [{ containerID: 0, hostID: 65536, size: 65536 }];
    expect(of({})).toEqual({ uidMappings: mapping, gidMappings: mapping });
    expect(of({ mode: 'NODE' })).toBeUndefined();
    expect(userNamespace(null, true)).toBeUndefined();
  });

  it.each([
    [{ mode: 'CONTAINER' as const }, "is the pod's or the node's, not CONTAINER"],
    [{ uids: [range, range] }, 'one range of uids, not 2'],
    [{ gids: [{ ...range, containerId: 1 }] }, 'range of gids must begin with 0'],
  ])('%j is refused', (wish, message) => {
    expect(() => of(wish)).toThrow(message);
  });

  it('and so is any where the kernel cannot', () => {
    expect(() => of({}, false)).toThrow(/older than Linux 5.19/);
  });
});

describe('limits', () => {
  const none = {
    cpuPeriod: 0,
    cpuQuota: 0,
    cpuShares: 0,
    memoryLimitInBytes: 0,
    oomScoreAdj: 0,
    memorySwapLimitInBytes: 0,
    cpusetCpus: '',
    cpusetMems: '',
    hugepageLimits: [],
    unified: {},
  };

  it('zero is not said', () => {
    expect(ociResources(none)).toEqual({});
    expect(ociResources({ ...none, cpuShares: 2, memoryLimitInBytes: 1 << 20 })).toEqual({
      cpu: { shares: 2 },
      memory: { limit: 1 << 20 },
    });
  });

  it('an update changes what it says and nothing else', () => {
    const old = { ...none, cpuShares: 2, memoryLimitInBytes: 100 };
    expect(mergedResources(old, { ...none, memoryLimitInBytes: 200 })).toEqual({ ...old, memoryLimitInBytes: 200 });
  });
});

describe('paths of the host', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-share-'));
    await mkdir(join(folder, 'pods', 'volume'), { recursive: true });
    await mkdir(join(folder, 'secret'));
    await symlink(join(folder, 'secret'), join(folder, 'pods', 'out'));
    await symlink('volume', join(folder, 'pods', 'in'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are found below what is shared, links followed on the host', async () => {
    const shares = [join(folder, 'pods')];
    expect(await pathInSandbox(join(folder, 'pods', 'in'), shares, 'mount')).toBe(`/host${folder}/pods/volume`);
  });

  it('are refused when a link leads out of what is shared, and when they are not there', async () => {
    const shares = [join(folder, 'pods')];
    await expect(pathInSandbox(join(folder, 'pods', 'out'), shares, 'mount')).rejects.toThrow(
      /secret is not shared with sandboxes/,
    );
    await expect(pathInSandbox(join(folder, 'pods', 'none'), shares, 'mount')).rejects.toThrow(/none is not there/);
    await expect(pathInSandbox(`${folder}/pods-other`, shares, 'mount')).rejects.toThrow(/is not there/);
  });

  it('a folder below another one is not shared twice; one that only begins alike is', () => {
    expect(outermost(['/a/b', '/a', '/ab', '/a'])).toEqual(['/a', '/ab']);
  });

  it('are mounted in the order of their depth, with what they ask for', async () => {
    const volume = join(folder, 'pods', 'volume');
    const { mounts, images } = await volumeMounts(
      [
        mount('/data/inner/deep', volume, { propagation: 'PROPAGATION_HOST_TO_CONTAINER' }),
        mount('/data', volume, { readonly: true }),
        mount('/image', '', { readonly: true, image: { ...noImage, image: 'busybox' }, imageSubPath: 'etc/./x' }),
        mount('/again', '', { readonly: true, image: { ...noImage, image: 'busybox' } }),
      ],
      [folder],
      { recursiveReadOnly: true, mountsSpread: true },
    );
    expect(images).toEqual(['busybox']);
    expect(
      byDepth(mounts).map(({ destination, source, options }) => [destination, source, options?.join(',')]),
    ).toEqual([
      ['/data', `/host${volume}`, 'rbind,rprivate,ro'],
      ['/image', 'image:0/etc/x', 'rbind,rprivate,ro'],
      ['/again', 'image:0', 'rbind,rprivate,ro'],
      ['/data/inner/deep', `/host${volume}`, 'rbind,rslave,rw'],
    ]);
  });

  it('recursive read-only is checked: what it needs, and whether the kernel can', async () => {
    const volume = join(folder, 'pods', 'volume');
    const of = (wish: Partial<Mount>, recursiveReadOnly = true) =>
      volumeMounts([mount('/x', volume, { recursiveReadOnly: true, ...wish })], [folder], {
        recursiveReadOnly,
        mountsSpread: true,
      });
    expect((await of({ readonly: true })).mounts[0]?.options).toContain('rro');
    await expect(of({})).rejects.toThrow('recursive_read_only needs readonly');
    await expect(of({ readonly: true, propagation: 'PROPAGATION_BIDIRECTIONAL' })).rejects.toThrow(
      'needs private propagation',
    );
    await expect(of({ readonly: true }, false)).rejects.toThrow(/older than Linux 5.12/);
  });

  // On a Mac the kubelet's tmpfs is in its own virtual machine: the folder that is shared is empty.
  it('what the sandbox would find empty, because kubelet mounted it elsewhere, is refused by name', async () => {
    const uid = join(folder, 'pods', 'uid');
    const at = async (...path: string[]) => {
      await mkdir(join(uid, ...path), { recursive: true });
      return join(uid, ...path);
    };
    const of = (path: string, mountsSpread = false) =>
      volumeMounts([mount('/x', path)], [folder], { recursiveReadOnly: true, mountsSpread });
    const secret = await at('volumes', 'kubernetes.io~secret', 'token');
    await expect(of(secret)).rejects.toThrow(/the secret volume at \/x is not supported/);
    expect((await of(secret, true)).mounts).toHaveLength(1);
    await writeFile(join(secret, 'token'), 'x');
    expect((await of(secret)).mounts).toHaveLength(1);
    await expect(of(await at('volumes', 'kubernetes.io~csi', 'pvc-1', 'mount'))).rejects.toThrow(
      /the csi volume at \/x/,
    );
    // where an NFS server's folder should be, a container would write to this disk
    await expect(of(await at('volumes', 'kubernetes.io~nfs', 'data'))).rejects.toThrow(/the nfs volume at \/x/);
    const parts = await at('volume-subpaths', 'data', 'main');
    await writeFile(join(parts, '0'), '');
    await expect(of(join(parts, '0'))).rejects.toThrow(/the subPath at \/x is not supported/);
    await expect(of(await at('volume-subpaths', 'data', 'main', '1'))).rejects.toThrow(/the subPath at \/x/);
    for (const kind of ['empty-dir', 'configmap'])
      expect((await of(await at('volumes', `kubernetes.io~${kind}`, 'own'))).mounts).toHaveLength(1);
  });

  it('a path that leaves its image is refused', async () => {
    const out = mount('/x', '', { readonly: true, image: { ...noImage, image: 'busybox' }, imageSubPath: '../x' });
    await expect(volumeMounts([out], [], { recursiveReadOnly: true, mountsSpread: true })).rejects.toThrow(
      'leaves the image',
    );
  });
});

const noImage = { image: '', annotations: {}, userSpecifiedImage: '', runtimeHandler: '', imageRef: '' };
const mount = (containerPath: string, hostPath: string, wish: Partial<Mount> = {}): Mount => ({
  containerPath,
  hostPath,
  readonly: false,
  selinuxRelabel: false,
  propagation: 'PROPAGATION_PRIVATE',
  uidMappings: [],
  gidMappings: [],
  recursiveReadOnly: false,
  image: null,
  imageSubPath: '',
  ...wish,
});

describe('a container as an OCI configuration', () => {
  const pod = { hostname: 'web-0', linux: null } as unknown as PodSandboxConfig;
  const able = { capabilities: ['CAP_CHOWN'], recursiveReadOnly: true, mountsSpread: true, userNamespaces: false };
  const container = (wish: Partial<ContainerConfig> = {}): ContainerConfig =>
    ({
      command: [],
      args: [],
      workingDir: '',
      envs: [],
      mounts: [],
      devices: [],
      CDIDevices: [],
      linux: null,
      ...wish,
    }) as ContainerConfig;
  const build = (wish: Partial<ContainerConfig>, defaults = {}) =>
    containerSpec(container(wish), pod, { ...image, ...defaults }, [], able);
  const line = async (wish: Partial<ContainerConfig>, defaults = {}) =>
    (await build(wish, defaults)).config.process.args;

  it('a command replaces entrypoint and arguments of the image, arguments only its arguments', async () => {
    const defaults = { Entrypoint: ['entry'], Cmd: ['default'] };
    expect(await line({}, defaults)).toEqual(['entry', 'default']);
    expect(await line({ args: ['mine'] }, defaults)).toEqual(['entry', 'mine']);
    expect(await line({ command: ['sh'] }, defaults)).toEqual(['sh']);
    expect(await line({ command: ['sh'], args: ['-c'] }, defaults)).toEqual(['sh', '-c']);
    await expect(line({})).rejects.toThrow('neither the container nor its image says what to run');
  });

  it('the pod has the last word on the environment, and bytes are text', async () => {
    const envs = [{ key: 'A', value: Buffer.from('pod=1') }];
    const { config } = await build({ args: ['x'], envs }, { Env: ['A=image', 'PATH=/bin'] });
    expect(config.process.env).toEqual(['PATH=/bin', 'HOSTNAME=web-0', 'HOME=/root', 'A=pod=1']);
  });

  it("the pod's files are there, but where a volume is", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kina-hosts-'));
    const spec = await containerSpec(
      container({ args: ['x'], mounts: [mount('/etc/hosts', folder)] }),
      pod,
      image,
      [folder],
      able,
    );
    const at = (path: string) =>
      (spec.config.mounts as { destination: string; source: string }[]).filter((m) => m.destination === path);
    expect(at('/etc/hosts').map((m) => m.source)).toEqual([`/host${folder}`]);
    expect(at('/etc/resolv.conf')).toHaveLength(1);
    await rm(folder, { recursive: true });
  });

  it("a volume at /etc does not hide the pod's files, nor one that is spelled otherwise bring them back", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kina-etc-'));
    const mounts = [mount('/etc', folder), mount('/a/b', folder), mount('/a', folder), mount('/etc//hosts/', folder)];
    const { config } = await containerSpec(container({ args: ['x'], mounts }), pod, image, [folder], able);
    const own = config.mounts.map((one) => (one as { destination: string }).destination);
    expect(own.slice(own.indexOf('/etc'))).toEqual([
      '/etc',
      '/a',
      '/etc/hostname',
      '/etc/resolv.conf',
      '/a/b',
      '/etc//hosts/',
    ]);
    await rm(folder, { recursive: true });
  });

  it('what a sandbox has not is refused by name', async () => {
    const device = { containerPath: '/dev/x', hostPath: '/dev/x', permissions: 'r' };
    await expect(build({ args: ['x'], devices: [device] })).rejects.toThrow('devices is not supported by kina');
    const privileged = { resources: null, securityContext: { ...noContext, privileged: true } };
    await expect(build({ args: ['x'], linux: privileged })).rejects.toThrow('needs a privileged sandbox');
  });

  it('another program runs as the first one does, with a terminal of its own', async () => {
    const { config } = await build({ args: ['x'] });
    expect(execProcess(config.process, ['sh'], true)).toMatchObject({
      args: ['sh'],
      terminal: true,
      user: config.process.user,
    });
    expect(execProcess(config.process, ['sh'], true).env).toContain('TERM=xterm');
    expect(() => execProcess(config.process, [], false)).toThrow('no command to run');
  });
});
