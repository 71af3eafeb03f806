/**
 * A real kubelet without a cluster, with kina's CRI service as its only runtime: a static pod runs, is probed, logs,
 * comes back when it dies, and goes with its manifest.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { kubeletSettings } from '../../src/cri/kubelet.ts';
import { freePorts } from '../../src/host/ports.ts';
import { run } from '../support/command.ts';
import { openCri } from '../support/cri/client.ts';
import { startKinaCri } from '../support/cri/kina.ts';
import type { CriService } from '../support/cri/service.ts';
import { type CriImages, serveCriImages } from '../support/cri-images.ts';
import { engineRequirements } from '../support/engine.ts';
import { kubernetes } from '../support/images.ts';
import { releaseFile } from '../support/mirror.ts';
import { describeWith } from '../support/requirements.ts';

const busybox = 'registry.k8s.io/e2e-test-images/busybox:1.29-2';
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const kubeletProgram = releaseFile(`dl.k8s.io/${kubernetes.version}/bin/linux/${architecture}/kubelet`);

/** An init container, a server that is probed in two ways, and one that reaches it over localhost. */
const manifest = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 2,
    restartPolicy: 'Always',
    volumes: [{ name: 'pages', emptyDir: {} }],
    initContainers: [
      {
        name: 'prepare',
        image: busybox,
        command: ['sh', '-c', 'echo "made by init" > /pages/index.html'],
        volumeMounts: [{ name: 'pages', mountPath: '/pages' }],
      },
    ],
    containers: [
      {
        name: 'server',
        image: busybox,
        command: ['sh', '-c', 'trap "exit 0" TERM; echo serving; httpd -p 8080 -h /pages; while :; do sleep 1; done'],
        volumeMounts: [{ name: 'pages', mountPath: '/pages', readOnly: true }],
        readinessProbe: { httpGet: { path: '/index.html', port: 8080 }, periodSeconds: 1 },
        livenessProbe: { exec: { command: ['cat', '/pages/index.html'] }, periodSeconds: 2 },
        resources: { limits: { memory: '64Mi', cpu: '500m' } },
      },
      {
        name: 'client',
        image: busybox,
        command: ['sh', '-c', 'while :; do wget -q -O - http://127.0.0.1:8080/index.html; sleep 1; done'],
      },
    ],
  },
};

interface PodStatus {
  metadata: { name: string };
  status: {
    phase: string;
    podIP?: string;
    containerStatuses?: { name: string; ready: boolean; restartCount: number; containerID?: string }[];
  };
}

describeWith(
  'a kubelet whose pods are sandboxes of kina',
  ['full tier', 'root', ...engineRequirements.podman, 'release files'],
  () => {
    let folder: string;
    let images: CriImages;
    let service: CriService;
    let kubelet: ChildProcess;
    let port: number;

    beforeAll(async () => {
      // Not below /tmp: the kubelet's folder has mounts of its own, which sandboxes are to see.
      folder = await mkdtemp(join(tmpdir(), 'kina-kubelet-'));
      const [rootDir, manifests] = [join(folder, 'kubelet'), join(folder, 'manifests')];
      for (const path of [rootDir, manifests]) await mkdir(path);
      const served = await serveCriImages();
      if (served.skip !== undefined) throw new Error(served.skip);
      images = served;
      const started = await startKinaCri(images.host, [rootDir]);
      if (started.skip !== undefined) throw new Error(started.skip);
      service = started;
      [port] = (await freePorts(['127.0.0.1'], new Set())) as [number];
      const { configuration, flags } = kubeletSettings(`unix://${service.socket}`, kubernetes.version);
      const config = join(folder, 'config.yaml');
      await writeFile(
        config,
        stringify({
          ...configuration,
          staticPodPath: manifests,
          failSwapOn: false,
          cgroupsPerQOS: false,
          enforceNodeAllocatable: [],
          address: '127.0.0.1',
          port,
          readOnlyPort: 0,
          healthzPort: 0,
          authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
          authorization: { mode: 'AlwaysAllow' },
          fileCheckFrequency: '1s',
          syncFrequency: '5s',
          evictionHard: { 'nodefs.available': '0%', 'imagefs.available': '0%' },
        }),
      );
      const log = openSync(join(folder, 'log'), 'w');
      kubelet = spawn(
        kubeletProgram,
        [`--config=${config}`, ...flags, `--root-dir=${rootDir}`, `--cert-dir=${join(folder, 'pki')}`, '--v=2'],
        { stdio: ['ignore', log, log] },
      );
      closeSync(log);
      await writeFile(join(manifests, 'web.yaml'), stringify(manifest));
    });

    afterAll(async () => {
      kubelet?.kill();
      await service?.stop();
      await images?.stop();
      if (!folder) return;
      // tmpfs volumes stay mounted when a kubelet ends
      const mounted = (await readFile('/proc/self/mountinfo', 'utf8'))
        .split('\n')
        .map((line) => line.split(' ')[4] ?? '');
      for (const path of mounted.filter((one) => one.startsWith(folder))) await run(['umount', path]);
      await rm(folder, { recursive: true, force: true });
    });

    const ask = (path: string, method = 'GET'): Promise<{ code: number; text: string }> =>
      new Promise((resolve, reject) => {
        // the kubelet signs its certificate itself
        const agent = new Agent({ rejectUnauthorized: false });
        const sent = request({ host: '127.0.0.1', port, path, method, agent }, (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (piece) => (text += piece));
          answer.once('end', () => resolve({ code: answer.statusCode ?? 0, text }));
        });
        sent.once('error', reject).end();
      });

    const pod = async (): Promise<PodStatus | undefined> => {
      const { text } = await ask('/pods');
      return (JSON.parse(text) as { items?: PodStatus[] }).items?.find(({ metadata }) =>
        metadata.name.startsWith('web'),
      );
    };

    /** Asks every half second until there is an answer; fails with what kubelet and service said. */
    async function until<T>(what: string, seconds: number, check: () => Promise<T | undefined>): Promise<T> {
      const end = Date.now() + seconds * 1000;
      for (;;) {
        const found = await check().catch(() => undefined);
        if (found !== undefined) return found;
        if (Date.now() > end) {
          const log = await complaints(join(folder, 'log'));
          throw new Error(`not within ${seconds} s: ${what}\nkubelet:\n${log}\nkina:\n${await service.said()}`);
        }
        await sleep(500);
      }
    }

    const allReady = () =>
      until('both containers ready', 120, async () => {
        const found = await pod();
        const statuses = found?.status.containerStatuses ?? [];
        return statuses.length === 2 && statuses.every(({ ready }) => ready) ? found : undefined;
      });

    test('a static pod with an init container and two containers becomes ready through its probes', async () => {
      const { status } = await allReady();
      expect(status.phase).toBe('Running');
      // the readiness probe came from here, so the address is one that this host reaches
      const answer = await fetch(`http://${status.podIP}:8080/index.html`);
      expect(await answer.text()).toBe('made by init\n');
    });

    test('its logs are read through the kubelet', async () => {
      const { metadata } = (await pod())!;
      const logs = (container: string) => ask(`/containerLogs/default/${metadata.name}/${container}`);
      expect(await logs('server')).toEqual({ code: 200, text: 'serving\n' });
      await until('the client hears the server over localhost', 10, async () =>
        (await logs('client')).text.includes('made by init\n') ? true : undefined,
      );
    });

    test('what kubelet counts comes from inside the sandbox', async () => {
      const used = await until('figures of both containers', 60, async () => {
        const { text } = await ask('/stats/summary');
        const pods = (
          JSON.parse(text) as { pods: { containers: { name: string; memory?: { workingSetBytes?: number } }[] }[] }
        ).pods;
        const found = pods.flatMap((one) => one.containers).filter((one) => one.memory?.workingSetBytes);
        return found.length === 2 ? found : undefined;
      });
      expect(used.map(({ name }) => name).sort()).toEqual(['client', 'server']);
    });

    test('a container that is killed comes back', async () => {
      const before = (await pod())!;
      const server = before.status.containerStatuses!.find(({ name }) => name === 'server')!;
      const client = openCri(service.socket);
      const containerId = server.containerID!.replace(/^.*:\/\//, '');
      // the shell heeds TERM alone; its death is the container's
      await client.call('execSync', { containerId, cmd: ['sh', '-c', 'kill -TERM 1'], timeout: 10 });
      client.close();
      const after = await until('a new container', 60, async () => {
        const found = (await pod())?.status.containerStatuses?.find(({ name }) => name === 'server');
        return found && found.restartCount === 1 && found.ready ? found : undefined;
      });
      expect(after.containerID).not.toBe(server.containerID);
    });

    test('it goes with its manifest, and leaves nothing', async () => {
      await rm(join(folder, 'manifests', 'web.yaml'));
      const client = openCri(service.socket);
      await until('no sandbox that is ready', 60, async () => {
        const { items } = await client.call('listPodSandbox', { filter: { state: { state: 'SANDBOX_READY' } } });
        return items.length === 0 ? true : undefined;
      });
      client.close();
    });
  },
);

/** Of a kubelet's log, what went wrong: https://github.com/kubernetes/klog writes the level first. */
async function complaints(path: string): Promise<string> {
  const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => /^[EF]\d{4} /.test(line));
  return lines.slice(-20).join('\n');
}
