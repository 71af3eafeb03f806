/** What the containers of one pod share, and what a pod says for all of them. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '../../../../src/host/ports.ts';
import type { CriHouse } from '../house.ts';
import { type TestPod, until } from '../pods.ts';

export function sharing(house: () => CriHouse): void {
  describe('a pod of several containers', () => {
    let pod: TestPod;
    let volume: string;
    let port: number;
    beforeAll(async () => {
      const { folder, pods } = house();
      // as kubelet lays out an emptyDir
      volume = join(folder, 'pods/uid/volumes/kubernetes.io~empty-dir/pages');
      await mkdir(volume, { recursive: true });
      [port] = (await freePorts(['127.0.0.1'], new Set())) as [number];
      pod = await pods.sandbox('several', {
        hostname: 'web-0',
        dnsConfig: {
          servers: ['10.96.0.10', '1.1.1.1'],
          searches: ['a.svc.cluster.local', 'cluster.local'],
          options: ['ndots:5'],
        },
        portMappings: [{ containerPort: 8080, hostPort: port, hostIp: '127.0.0.1', protocol: 'TCP' }],
        linux: { sysctls: { 'net.ipv4.ip_local_port_range': '20000 20999', 'kernel.shm_rmid_forced': '1' } },
      });
    });
    afterAll(() => house().pods.remove(pod));
    const mounted = (readonly: boolean) => ({ mounts: [{ hostPath: volume, containerPath: '/pages', readonly }] });

    test('begins with an init container, whose work the others find', async () => {
      const { pods } = house();
      const init = await pods.run(pod, 'init', 'echo "made by init" >/pages/index.html', mounted(false));
      expect(await pods.ended(init)).toMatchObject({ exitCode: 0, reason: 'Completed' });
      expect(await readFile(join(volume, 'index.html'), 'utf8')).toBe('made by init\n');
    });

    test('talks over localhost, and shares a folder that the host has too', async () => {
      const { pods } = house();
      const server = await pods.run(pod, 'server', 'httpd -p 8080 -h /pages; sleep 1000', mounted(false));
      const client = await pods.run(pod, 'client', 'sleep 1000');
      const reader = await pods.run(pod, 'reader', 'sleep 1000', mounted(true));
      const page = () => pods.exec(client, 'wget -q -O - http://localhost:8080/index.html');
      await until('the server listens', 10, async () => ((await page()).exitCode === 0 ? true : undefined));
      expect((await page()).stdout).toBe('made by init\n');
      await pods.output(server, 'echo "written by the server" >/pages/index.html; chmod 640 /pages/index.html');
      expect(await pods.output(reader, 'cat /pages/index.html')).toBe('written by the server');
      expect((await page()).stdout).toBe('written by the server\n');
      expect((await stat(join(volume, 'index.html'))).mode & 0o777).toBe(0o640);
      expect((await pods.exec(reader, 'echo no >/pages/index.html')).stderr).toMatch(/read-only/i);
      // each has its own root, and its own processes
      expect((await pods.exec(reader, 'touch /mine; ls /mine')).exitCode).toBe(0);
      expect((await pods.exec(client, 'ls /mine')).exitCode).not.toBe(0);
    });

    test('is reached through its port on this host’s 127.0.0.1', async () => {
      const answer = await until('the mapped port answers', 10, () =>
        fetch(`http://127.0.0.1:${port}/index.html`).catch(() => undefined),
      );
      expect(await answer.text()).toBe('written by the server\n');
    });

    test('has its host name, its names, its resolver and its sysctls in every container', async () => {
      const { pods } = house();
      const { network } = await pods.sandboxStatus(pod.id);
      for (const name of ['one', 'two']) {
        const id = await pods.run(pod, name, 'sleep 1000');
        expect(await pods.output(id, 'hostname')).toBe('web-0');
        expect(await pods.output(id, 'cat /etc/hostname')).toBe('web-0');
        expect(await pods.output(id, 'cat /etc/hosts')).toContain(`${network!.ip}\tweb-0`);
        // word for word, or the cluster's DNS is not the pod's
        expect(await pods.output(id, 'cat /etc/resolv.conf')).toBe(
          'search a.svc.cluster.local cluster.local\nnameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:5',
        );
        expect(await pods.output(id, 'cat /proc/sys/net/ipv4/ip_local_port_range')).toBe('20000\t20999');
        expect(await pods.output(id, 'cat /proc/sys/kernel/shm_rmid_forced')).toBe('1');
      }
    });

    test('has one IPC namespace and /dev/shm for all', async () => {
      const { pods } = house();
      const [one, two] = [await pods.run(pod, 'ipc-1', 'sleep 1000'), await pods.run(pod, 'ipc-2', 'sleep 1000')];
      await pods.output(one, 'echo shared >/dev/shm/note');
      expect(await pods.output(two, 'cat /dev/shm/note')).toBe('shared');
      const namespace = (id: string) => pods.output(id, 'readlink /proc/self/ns/ipc');
      expect(await namespace(two)).toBe(await namespace(one));
    });

    test('shares processes when asked, and only then', async () => {
      const { pods } = house();
      const linux = (pid: 'POD' | 'CONTAINER') => ({ linux: { securityContext: { namespaceOptions: { pid } } } });
      await pods.run(pod, 'marked', 'exec sleep 4242', linux('POD'));
      const sees = await pods.run(pod, 'sees', 'sleep 1000', linux('POD'));
      const alone = await pods.run(pod, 'alone', 'sleep 1000', linux('CONTAINER'));
      const look = 'pgrep -f "sleep [4]242" >/dev/null && echo seen || echo alone';
      expect(await pods.output(sees, look)).toBe('seen');
      expect(await pods.output(alone, look)).toBe('alone');
      expect(await pods.output(alone, 'cat /proc/1/comm')).toMatch(/^(sh|sleep)$/);
    });
  });
}
