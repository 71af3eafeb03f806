/**
 * The agent in a real sandbox under podman, and crun in it: lives and deaths of containers. Their streams are in
 * agent-streams.test.ts.
 */
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { AgentEvent } from '../../../src/cri/agent/protocol.ts';
import { Containers } from '../../support/containers.ts';
import { describeInSandbox } from '../../support/sandbox.ts';

const setup = {
  hostname: 'pod-1',
  sysctls: { 'kernel.shm_rmid_forced': '1', 'net.ipv4.ip_local_port_range': '1024\t65000' },
  routes: [],
  sharePids: true,
};

describeInSandbox('containers in a sandbox', setup, (site) => {
  test('the sandbox tells what it is, and what it cannot give away', async () => {
    const hello = await site.sandbox.client.call('hello', {});
    const bounding = /^CapBnd:\s*(\w+)/m.exec(await readFile(`/proc/${await site.sandbox.pid()}/status`, 'utf8'))![1]!;
    expect(hello).toMatchObject({ protocol: 1, runtime: expect.stringMatching(/^\d+\.\d+/) });
    expect(hello.capabilities).toHaveLength([...BigInt(`0x${bounding}`).toString(2)].filter((b) => b === '1').length);
    expect(hello.capabilities).toContain('CAP_NET_ADMIN');
    expect(hello.controllers).toEqual(expect.arrayContaining(['cpu', 'memory', 'pids']));
    expect(hello.memory).toBeGreaterThan(256 << 20);
  });

  test('a container lives from created to exited, and its record outlives the sandbox', async () => {
    const events: AgentEvent[] = [];
    const listening = new AbortController();
    const heard = site.sandbox.client.events((event) => events.push(event), listening.signal);
    const { pid } = await site.pod.create('life', ['sh', '-c', 'exit 3']);
    expect(await site.pod.status('life')).toMatchObject({ state: 'created', pid, startedAt: '0', finishedAt: '0' });
    await expect(site.pod.create('life', ['true'])).rejects.toMatchObject({ failure: 'exists' });
    const { startedAt } = await site.sandbox.client.call('start', { id: 'life' });
    const end = await site.pod.ended('life');
    expect(end).toMatchObject({ state: 'exited', exitCode: 3, startedAt, oomKilled: false });
    expect(BigInt(end.createdAt) < BigInt(startedAt)).toBe(true);
    expect(BigInt(end.finishedAt) >= BigInt(startedAt)).toBe(true);
    const record = join(site.sandbox.shared, 'containers/life.json');
    expect(JSON.parse(await readFile(record, 'utf8'))).toEqual(end);
    await expect(site.sandbox.client.call('start', { id: 'life' })).rejects.toMatchObject({ failure: 'wrong-state' });
    await site.pod.remove('life', 'life');
    expect(existsSync(record)).toBe(false);
    listening.abort();
    await heard;
    const told = events.map(({ containers, container, deleted }) => containers?.length ?? container?.state ?? deleted);
    expect(told).toEqual([0, 'created', 'running', 'exited', 'life']);
  });

  test('a program that is not there is a failure with its name, and leaves nothing behind', async () => {
    await expect(site.pod.create('none', ['nonesuch'])).rejects.toThrow(/nonesuch/);
    expect((await site.sandbox.client.call('list', {})).containers).toEqual([]);
    const mounts = await readFile(`/proc/${await site.sandbox.pid()}/mounts`, 'utf8');
    expect(mounts).not.toMatch(/loop|\/none\//);
  });

  // The service does so when its caller gives up: no request for this container would come again.
  test('a container that is not wanted any more while it is being made goes when it is made', async () => {
    const making = site.pod.create('unwanted', ['sleep', '1000']);
    const removing = site.sandbox.client.call('delete', { id: 'unwanted' });
    await Promise.all([making, removing]);
    expect((await site.sandbox.client.call('list', {})).containers).toEqual([]);
    const failing = site.pod.create('unwanted', ['nonesuch']);
    await Promise.all([
      expect(failing).rejects.toThrow(/nonesuch/),
      site.sandbox.client.call('delete', { id: 'unwanted' }),
    ]);
    expect((await site.sandbox.client.call('list', {})).containers).toEqual([]);
  });

  test('every container has the image for itself; what it writes is counted and goes with it', async () => {
    await site.pod.shell('one', 'dd if=/dev/zero of=/data/big bs=1M count=3; echo changed >/etc/motd; sleep 1000');
    await site.pod.shell('two', 'sleep 1000');
    await expect.poll(() => site.pod.ask('one', 'cat /etc/motd')).toBe('changed');
    expect(await site.pod.ask('two', 'cat /etc/motd; stat -c %a /root /tmp')).toBe('from the image\n700\n1777');
    // One disk, mounted once.
    const mounts = await readFile(`/proc/${await site.sandbox.pid()}/mounts`, 'utf8');
    expect(mounts.match(/^\/dev\/loop/gm)).toHaveLength(1);
    const { containers, sandbox: whole } = await site.sandbox.client.call('stats', {});
    expect(containers.one).toMatchObject({ diskBytes: expect.any(Number), cpuNanoseconds: expect.any(Number) });
    expect(containers.one!.diskBytes).toBeGreaterThanOrEqual(3 << 20);
    expect(containers.two!.diskBytes).toBeLessThan(1 << 20);
    expect(containers.two!.processes).toBe(1);
    expect(whole.memoryBytes).toBeGreaterThan(containers.one!.workingSetBytes);
    await site.pod.remove('one', 'two');
    expect(await readFile(`/proc/${await site.sandbox.pid()}/mounts`, 'utf8')).not.toMatch(/loop/);
  });

  test('containers share host name, network, IPC and kernel settings, but neither files nor processes', async () => {
    await site.pod.shell('web', 'mkdir /tmp/www; echo served >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www');
    await site.pod.shell('user', 'hostname; sleep 1000');
    await expect.poll(() => site.pod.ask('user', 'wget -q -O - http://127.0.0.1:8080/')).toBe('served');
    expect(await site.pod.ask('user', 'hostname; cat /proc/sys/kernel/shm_rmid_forced')).toBe('pod-1\n1');
    expect(await site.pod.ask('user', 'cat /proc/sys/net/ipv4/ip_local_port_range')).toBe('1024\t65000');
    expect(await site.pod.ask('user', 'ps -o args')).not.toContain('httpd');
    const ipc = (id: string) => site.pod.ask(id, 'stat -L -c %i /proc/1/ns/ipc /proc/1/ns/net /proc/1/ns/uts');
    expect(await ipc('web')).toBe(await ipc('user'));
    await site.pod.remove('web', 'user');
  });

  test('process namespaces: shared by the pod with a first process that reaps, a target’s, the sandbox’s own', async () => {
    await site.pod.shell('a', 'sleep 1001', { pid: 'pod' });
    await site.pod.shell('b', '(setsid sleep 0.1 &); sleep 1002', { pid: 'pod' });
    await site.pod.shell('alone', 'sleep 1003');
    await site.pod.shell('debug', 'sleep 1004', { pid: { target: 'alone' } });
    await site.pod.shell('node', 'sleep 1005', { pid: 'node' });
    // The first process of the pod reaps the orphan of b.
    await expect.poll(() => site.pod.ask('a', 'ps -o pid,args')).not.toMatch(/setsid|sleep 0.1|\[sleep\]/);
    const shared = await site.pod.ask('a', 'ps -o pid,args');
    expect(shared).toMatch(/^ +1 (.*python3|\[pause\]|pause)/m);
    expect(shared).toContain('sleep 1002');
    expect(shared).not.toMatch(/sleep 0.1|\[sleep\]|sleep 1003/);
    expect(await site.pod.ask('debug', 'ps -o args')).toMatch(/sleep 1003[\s\S]*sleep 1004/);
    expect(await site.pod.ask('node', 'ps -o args')).toMatch(/main\.py[\s\S]*sleep 1003/);
    await expect(site.pod.create('lost', ['true'], { pid: { target: 'nobody' } })).rejects.toMatchObject({
      failure: 'not-found',
    });
    // In a shared namespace nothing dies by itself with the first process of a container.
    await site.pod.shell('leaver', 'setsid sleep 1006 & sleep 0.2', { pid: 'pod' });
    await site.pod.ended('leaver');
    expect(await site.pod.ask('a', 'ps -o args')).not.toContain('1006');
    await site.pod.remove('debug', 'a', 'b', 'alone', 'node', 'leaver');
  });

  test('stop asks with the given signal, waits, and then insists', async () => {
    await site.pod.shell('polite', "trap 'echo bye; exit 5' USR1; while :; do sleep 0.05; done");
    await expect.poll(() => site.pod.ask('polite', 'ps -o args')).toContain('sleep');
    await site.pod.stop('polite', 5000, 'SIGUSR1');
    expect(await site.pod.status('polite')).toMatchObject({ state: 'exited', exitCode: 5 });
    expect(await site.pod.log('polite')).toEqual([['stdout', 'F', 'bye']]);
    await site.pod.shell('stubborn', "trap '' TERM; sleep 1000 & while :; do sleep 0.05; done");
    await expect.poll(() => site.pod.ask('stubborn', 'ps -o args')).toContain('sleep 1000');
    const before = performance.now();
    await site.pod.stop('stubborn', 300);
    expect(performance.now() - before).toBeGreaterThan(290);
    expect(await site.pod.status('stubborn')).toMatchObject({ exitCode: 137, oomKilled: false });
    await expect(site.pod.stop('stubborn', 0, 'SIGNONE')).rejects.toMatchObject({ failure: 'invalid' });
    await site.pod.shell('realtime', 'sleep 1000', { pid: 'pod' });
    await site.pod.stop('realtime', 5000, 'SIGRTMIN+3');
    expect((await site.pod.status('realtime')).exitCode).toBe(128 + 34 + 3);
    await site.pod.stop('never was', 10);
    await site.pod.stop('polite', 10);
    await site.pod.remove('polite', 'stubborn', 'realtime', 'never was');
  });

  test('a container that eats too much is killed for it and says so; one that lives can be given more', async () => {
    const resources = { memory: { limit: 20 << 20 } };
    await site.pod.shell('eater', 'exec tail -c 100m /dev/zero', { resources });
    expect(await site.pod.ended('eater')).toMatchObject({ exitCode: 137, oomKilled: true });
    await site.pod.shell('given', 'sleep 1000', { resources });
    await site.sandbox.client.call('update', {
      id: 'given',
      resources: { memory: { limit: 64 << 20 }, cpu: { shares: 2 } },
    });
    const { cgroupVersion } = await site.sandbox.client.call('hello', {});
    const limit = cgroupVersion === 2 ? 'memory.max' : 'memory/memory.limit_in_bytes';
    expect(await site.pod.ask('given', `cat /sys/fs/cgroup/${limit}`)).toBe(String(64 << 20));
    await site.pod.remove('eater', 'given');
  });

  test('images are mounted, and their links do not lead out of them', async () => {
    const mount = (destination: string, source: string) => ({
      destination,
      source,
      type: 'bind',
      options: ['rbind', 'ro'],
    });
    const image = {
      imageMounts: [site.house.disk],
      mounts: [mount('/data/sub', 'image:0/data/sub'), mount('/tmp', 'image:0')],
    };
    await site.pod.shell('mounts', 'sleep 1000', image);
    expect(await site.pod.ask('mounts', 'cat /data/sub/file /tmp/etc/motd')).toBe('mounted\nfrom the image');
    expect((await site.pod.exec('mounts', ['touch', '/data/sub/new'])).stderr).toContain('Read-only');
    // In the sandbox itself, /etc has a debian_version.
    const leading = { imageMounts: [site.house.disk], mounts: [mount('/tmp', 'image:0/data/escape')] };
    await site.pod.shell('escape', 'sleep 1000', leading);
    expect(await site.pod.ask('escape', 'ls /tmp')).toBe('motd\npasswd');
    const absent = { imageMounts: [site.house.disk], mounts: [mount('/tmp', 'image:0/nowhere')] };
    await expect(site.pod.create('absent', ['true'], absent)).rejects.toMatchObject({ failure: 'invalid' });
    await site.pod.remove('mounts', 'escape');
  });

  test('a user namespace maps accounts and the owners of all files, without copying one', async (context) => {
    const { userNamespaces } = await site.sandbox.client.call('hello', {});
    if (!userNamespaces) return context.skip('the sandbox cannot map owners on this kernel');
    const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const pid = await site.pod.shell('mapped', 'touch /data/mine; sleep 1000', {
      linux: { uidMappings: map, gidMappings: map },
    });
    await expect.poll(() => site.pod.ask('mapped', 'stat -c %u:%g /data/mine /etc/passwd /')).toBe('0:0\n0:0\n0:0');
    expect(await site.pod.ask('mapped', 'cat /proc/self/uid_map')).toMatch(/0\s+100000\s+65536/);
    const root = await site.sandbox.pid();
    expect(await readFile(`/proc/${root}/root/proc/${pid}/status`, 'utf8')).toMatch(/^Uid:\s+100000/m);
    await site.pod.remove('mapped');
  });

  test('nonsense does not disturb it', async () => {
    const socket = join(site.sandbox.shared, '../socket/agent.sock');
    const talk = async (bytes: Uint8Array): Promise<void> => {
      const connection = createConnection(socket);
      connection.on('error', () => {});
      connection.end(bytes);
      connection.resume();
      await once(connection, 'close');
    };
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(5, 0xff),
      Buffer.alloc(5),
      Buffer.from([0, 0, 0, 9, 0, 1]),
      Buffer.from([0, 0, 0, 2, 0, 0x7b, 0x7d]),
      Buffer.concat([Buffer.from([0, 1, 0, 0, 0]), Buffer.alloc(65_536, '[')]),
      Buffer.concat([Buffer.from([0, 0, 0, 20, 0]), Buffer.from('{"op":"__init__","a"')]),
    ])
      await talk(bytes);
    const idle = Array.from({ length: 50 }, () => createConnection(socket));
    await expect(site.sandbox.client.call('start', {} as never)).rejects.toMatchObject({ failure: 'invalid' });
    await expect(site.pod.create('../up', ['true'])).rejects.toMatchObject({ failure: 'invalid' });
    const calls = Array.from({ length: 100 }, () => site.sandbox.client.call('list', {}));
    expect(await Promise.all(calls)).toHaveLength(100);
    for (const connection of idle) connection.destroy();
  });

  test('it starts at once, is small, leaks nothing, and ends when it is asked to', async () => {
    const other = await site.house.sandbox();
    const containers = new Containers(other, site.house.disk);
    const pid = await other.pid();
    const figure = async (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]);
    const descriptors = () => readdirSync(`/proc/${pid}/fd`).length;
    // A connection is closed a moment after its answer has come.
    const settled = async () => {
      await containers.exec('keeper', ['true']);
      for (let last = -1, now = descriptors(); ; last = now, now = descriptors()) {
        if (now === last) return now;
        await sleep(200);
      }
    };
    await containers.shell('keeper', "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    const before = await settled();
    for (let round = 0; round < 5; round++) {
      await containers.shell('brief', 'true');
      await containers.ended('brief');
      await containers.remove('brief');
    }
    await expect.poll(descriptors).toBe(before);
    expect(await figure('VmRSS')).toBeLessThan(13 << 10);
    process.kill(pid, 'SIGTERM');
    const record = join(other.shared, 'containers/keeper.json');
    await expect.poll(async () => JSON.parse(await readFile(record, 'utf8')).state, { timeout: 10_000 }).toBe('exited');
    expect(JSON.parse(await readFile(record, 'utf8')).exitCode).toBe(0);
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 10_000 }).toBe(false);
    await other.remove();
  });
});
