/** What containers in a real sandbox say and hear: logs, exec, attach, terminals, tunnels. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { projectRoot } from '../../support/command.ts';
import { processOf } from '../../support/containers.ts';
import { describeInSandbox } from '../../support/sandbox.ts';

const MiB = 1 << 20;

describeInSandbox('streams of a sandbox', { hostname: 'pod', sysctls: {}, routes: [], sharePids: false }, (site) => {
  beforeAll(async () => {
    await site.pod.shell('idle', "trap 'exit 0' TERM; while :; do sleep 0.05; done");
  });

  const exec = (args: string[], more: { stdin?: boolean; timeout?: number; process?: object } = {}) =>
    site.sandbox.client.exec({
      id: 'idle',
      process: processOf(args, more.process),
      stdin: more.stdin ?? false,
      timeout: more.timeout ?? 0,
    });
  const running = async (what: string) => (await site.pod.ask('idle', 'ps -o args')).includes(what);

  test('the log has every line once, cut at 16 KiB, and marks the one that was not finished', async () => {
    await site.pod.shell('talk', 'echo one; echo two >&2; echo; head -c 40000 /dev/zero; echo; printf end');
    await site.pod.ended('talk');
    const lines = await site.pod.log('talk');
    expect(lines.filter(([stream]) => stream === 'stderr')).toEqual([['stderr', 'F', 'two']]);
    const out = lines.filter(([stream]) => stream === 'stdout').map(([, tag, words]) => [tag, words.length]);
    expect(out).toEqual([
      ['F', 3],
      ['F', 0],
      ['P', 16384],
      ['P', 16384],
      ['F', 40000 - 32768],
      ['P', 3],
    ]);
    await site.pod.remove('talk');
  });

  test('a log that was moved away goes on until it is reopened, in a new file then', async () => {
    await site.pod.shell('rotate', 'read a; echo $a; read a; echo $a; read a; echo $a', { stdin: true });
    const { stdin } = await site.sandbox.client.attach({ id: 'rotate', stdin: true });
    const path = join(site.sandbox.shared, 'rotate.log');
    stdin!.write('first\n');
    await expect.poll(() => site.pod.log('rotate')).toHaveLength(1);
    await rename(path, `${path}.1`);
    stdin!.write('second\n');
    await expect.poll(async () => (await stat(`${path}.1`)).size).toBeGreaterThan(80);
    await site.sandbox.client.call('reopen', { id: 'rotate' });
    stdin!.write('third\n');
    await site.pod.ended('rotate');
    expect(await site.pod.log('rotate')).toEqual([['stdout', 'F', 'third']]);
    await site.pod.remove('rotate');
  });

  test('exec keeps output, errors and exit codes apart, and reads its input to the end', async () => {
    expect(await site.pod.exec('idle', ['sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 7,
    });
    expect((await site.pod.exec('idle', ['sh', '-c', 'kill -9 $$'])).exitCode).toBe(137);
    await expect(site.pod.exec('idle', ['nonesuch'])).rejects.toMatchObject({
      failure: 'failed',
      message: expect.stringContaining('nonesuch'),
    });
    await expect(site.pod.exec('nobody', ['true'])).rejects.toMatchObject({ failure: 'not-found' });
    const cat = await exec(['cat'], { stdin: true });
    const sent = Buffer.alloc(5 * MiB, 'abcdefg');
    Readable.from([sent]).pipe(cat.stdin!);
    expect((await buffer(cat.stdout)).equals(sent)).toBe(true);
    expect(await cat.finished).toEqual({ exitCode: 0 });
    const user = { user: { uid: 65534, gid: 65534, additionalGids: [7] }, cwd: '/tmp' };
    expect((await site.pod.exec('idle', ['sh', '-c', 'id; echo x >/dev/stderr'], { process: user })).stdout).toContain(
      '65534',
    );
  });

  test('50 MiB reach a slow reader whole, and the agent does not keep them for it', async () => {
    const process = await exec(['dd', 'if=/dev/zero', 'bs=1M', 'count=50']);
    process.stderr.resume();
    await sleep(1000);
    expect(await running('dd if')).toBe(true);
    let size = 0;
    for await (const chunk of process.stdout) {
      size += (chunk as Buffer).length;
      if (size % MiB < 65_536) await sleep(5);
    }
    expect(size).toBe(50 * MiB);
    expect(await process.finished).toEqual({ exitCode: 0 });
    const { sandbox: whole } = await site.sandbox.client.call('stats', {});
    expect(whole.rssBytes).toBeLessThan(30 * MiB);
  });

  test('a time limit ends the process and all that it started, what left its session, too', async () => {
    const script = '(setsid sleep 4001 &); sleep 4002 & sleep 4003';
    const late = await exec(['sh', '-c', script], { timeout: 400 });
    expect(await text(late.stdout)).toBe('');
    await expect(late.finished).rejects.toMatchObject({ failure: 'timeout' });
    expect(await running('sleep 400')).toBe(false);
  });

  test('a child in the background does not hold up the end of an exec for ever', async () => {
    expect(await site.pod.exec('idle', ['sh', '-c', 'sleep 5001 & echo started'])).toMatchObject({
      stdout: 'started\n',
    });
    expect(await running('sleep 5001')).toBe(true);
    await site.pod.ask('idle', 'kill $(ps -o pid,args | grep "[s]leep 5001" | { read pid rest; echo $pid; })');
  });

  test('a terminal has a size, can be resized, and everything is its output', async () => {
    const shell = await exec(['sh'], {
      stdin: true,
      process: { terminal: true, consoleSize: { width: 90, height: 30 } },
    });
    let screen = '';
    shell.stdout.setEncoding('utf8').on('data', (words) => {
      screen += words;
    });
    shell.stdin!.write('stty size; echo error >&2\n');
    await expect.poll(() => screen).toMatch(/30 90\r\n[\s\S]*error\r\n/);
    shell.resize(100, 40);
    shell.stdin!.write('stty size\n');
    await expect.poll(() => screen).toContain('40 100\r\n');
    shell.stdin!.write('exit 4\n');
    expect(await shell.finished).toEqual({ exitCode: 4 });
    expect(await text(shell.stderr)).toBe('');
  });

  test('several clients attach to one terminal; it outlives them', async () => {
    await site.pod.run('term', ['sh'], { terminal: true, stdin: true });
    const one = await site.sandbox.client.attach({ id: 'term', stdin: true });
    const two = await site.sandbox.client.attach({ id: 'term', stdin: false });
    one.stdin!.write('echo a$((1+1))b\n');
    const heard = async (stream: Readable) => {
      let words = '';
      for await (const chunk of stream) {
        words += chunk;
        if (words.includes('a2b')) break;
      }
      return words;
    };
    expect(await heard(one.stdout)).toContain('a2b');
    expect(await heard(two.stdout)).toContain('a2b');
    one.close();
    const three = await site.sandbox.client.attach({ id: 'term', stdin: true });
    three.stdin!.write('exit 6\n');
    expect(await three.finished).toEqual({});
    expect((await site.pod.ended('term')).exitCode).toBe(6);
    expect((await site.pod.log('term')).map(([stream]) => stream)).not.toContain('stderr');
    await expect(site.sandbox.client.attach({ id: 'term', stdin: false })).rejects.toMatchObject({
      failure: 'wrong-state',
    });
    await site.pod.remove('term');
  });

  test('the end of an attached client’s input is the container’s only where it was said so', async () => {
    await site.pod.run('once', ['cat'], { stdin: true, stdinOnce: true });
    const once = await site.sandbox.client.attach({ id: 'once', stdin: true });
    once.stdin!.end('typed\n');
    expect(await text(once.stdout)).toBe('typed\n');
    expect((await site.pod.ended('once')).exitCode).toBe(0);
    await site.pod.run('again', ['cat'], { stdin: true });
    const first = await site.sandbox.client.attach({ id: 'again', stdin: true });
    first.stdin!.end('one\n');
    await expect.poll(() => site.pod.log('again')).toHaveLength(1);
    first.close();
    const second = await site.sandbox.client.attach({ id: 'again', stdin: true });
    second.stdin!.write('two\n');
    await expect.poll(() => site.pod.log('again')).toHaveLength(2);
    expect((await site.pod.status('again')).state).toBe('running');
    await site.pod.remove('once', 'again');
  });

  test('who listens hears all 50 MiB, however slowly, and the log has them as well', async () => {
    await site.pod.run('loud', ['sh', '-c', 'read go; yes 0123456789abcdef0123456789abcde | head -c 52428800'], {
      stdin: true,
    });
    const slow = await site.sandbox.client.attach({ id: 'loud', stdin: true });
    slow.stdin!.write('go\n');
    let size = 0;
    for await (const chunk of slow.stdout) {
      size += (chunk as Buffer).length;
      if (size % MiB < 65_536) await sleep(5);
    }
    expect(size).toBe(50 * MiB);
    expect((await site.pod.ended('loud')).exitCode).toBe(0);
    const overhead = '2026-01-01T00:00:00.000000000Z stdout F '.length;
    expect((await stat(join(site.sandbox.shared, 'loud.log'))).size).toBe(50 * MiB + ((50 * MiB) / 32) * overhead);
    await site.pod.remove('loud');
  });

  test('a client that is killed takes its exec along, and nothing else', async () => {
    await site.pod.run('steady', ['sh', '-c', 'while :; do echo tick; sleep 0.02; done']);
    const socket = join(site.sandbox.shared, '../socket/agent.sock');
    const script = `
      const { AgentClient } = await import(${JSON.stringify(join(projectRoot, 'src/cri/agent/client.ts'))});
      const client = new AgentClient(${JSON.stringify(socket)});
      await client.attach({ id: 'steady', stdin: false });
      const process_ = ${JSON.stringify(processOf(['sleep', '6001']))};
      await client.exec({ id: 'idle', process: process_, stdin: true, timeout: 0 });
      console.log('ready');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(await running('sleep 6001')).toBe(true);
    child.kill('SIGKILL');
    await expect.poll(() => running('sleep 6001')).toBe(false);
    const heard = (await site.pod.log('steady')).length;
    await expect.poll(async () => (await site.pod.log('steady')).length).toBeGreaterThan(heard + 5);
    await site.pod.remove('steady');
  });

  test('a tunnel carries both directions, half-closes, and reports when nothing listens', async () => {
    await expect(site.sandbox.client.forward(9)).rejects.toMatchObject({ failure: 'refused' });
    await site.pod.run('echo', ['nc', '-ll', '-p', '7007', '-e', 'cat']);
    const sent = Buffer.alloc(3 * MiB, 'tunnel');
    await expect.poll(() => site.pod.ask('idle', 'netstat -ltn')).toContain(':7007');
    const tunnels = Array.from({ length: 3 }, async () => {
      const tunnel = await site.sandbox.client.forward(7007);
      tunnel.end(sent);
      return (await buffer(tunnel)).equals(sent);
    });
    expect(await Promise.all(tunnels)).toEqual([true, true, true]);
    await site.pod.remove('echo');
  });

  test('a log that cannot be written does not disturb the container', async () => {
    await site.pod.run('full', ['sh', '-c', 'echo lost; echo again; exit 9'], { log: '/dev/full' });
    expect((await site.pod.ended('full')).exitCode).toBe(9);
    expect(await site.sandbox.logs()).toContain('output is missing in /dev/full: No space left on device');
    await site.pod.remove('full');
  });
});
