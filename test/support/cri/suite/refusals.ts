/**
 * docs/cri.md's table "What a sandbox cannot do", row for row: the test reads the table itself, so that a row without an
 * attempt, an attempt without a row, and a status that differs from the table all fail.
 */
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ContainerConfig, PodSandboxConfig } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import { projectRoot } from '../../command.ts';
import type { CriHouse } from '../house.ts';
import type { TestPod } from '../pods.ts';

interface Row {
  readonly asked: string;
  readonly status: string;
}

/** Of a Markdown table below a heading: its first two columns. */
function tableRows(heading: string): Row[] {
  const text = readFileSync(join(projectRoot, 'docs/cri.md'), 'utf8');
  const section = text.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, asked = '', answer = '']) => ({ asked, status: answer.replaceAll('`', '') }));
}

type Attempt = (house: CriHouse, pod: TestPod) => Promise<unknown>;

const ofSandbox =
  (config: Outgoing<PodSandboxConfig>, runtimeHandler = ''): Attempt =>
  async ({ client, pods }) =>
    client.call('runPodSandbox', { config: await pods.config('refused', config), runtimeHandler });
const ofContainer =
  (config: Outgoing<ContainerConfig>): Attempt =>
  ({ pods }, pod) =>
    pods.create(pod, `refused-${Math.random()}`, ['true'], config);

/** What each row is about; every one of these has to fail. */
const attempts: Readonly<Record<string, readonly Attempt[]>> = {
  'host network': [ofSandbox({ linux: { securityContext: { namespaceOptions: { network: 'NODE' } } } })],
  'a mount of a folder that is not shared': [
    ofContainer({ mounts: [{ hostPath: '/usr/share', containerPath: '/data' }] }),
  ],
  'devices of the host, CDI': [
    ofContainer({ devices: [{ hostPath: '/dev/kmsg', containerPath: '/dev/kmsg', permissions: 'r' }] }),
    ofContainer({ CDIDevices: [{ name: 'vendor.com/device=gpu0' }] }),
  ],
  'an AppArmor profile by name': [
    ofContainer({ linux: { securityContext: { apparmor: { profileType: 'Localhost', localhostRef: 'mine' } } } }),
    ofContainer({ linux: { securityContext: { apparmorProfile: 'localhost/mine' } } }),
  ],
  'a runtime handler other than `` and `kina`': [ofSandbox({}, 'gvisor')],
  'checkpoint, new size of a pod': [
    async ({ client, pods, folder }, pod) => {
      const containerId = await pods.create(pod, 'to-checkpoint', ['sleep', '1']);
      return client.call('checkpointContainer', { containerId, location: join(folder, 'checkpoint') });
    },
    ({ client }, pod) => client.call('updatePodSandboxResources', { podSandboxId: pod.id }),
  ],
};

export function refusals(house: () => CriHouse): void {
  describe('what docs/cri.md says that a sandbox cannot do', () => {
    const rows = tableRows('What a sandbox cannot do');
    let pod: TestPod;
    let folders: string[];
    beforeAll(async () => {
      pod = await house().pods.sandbox('refusals');
      folders = (await house().leftovers()).filter((one) => !one.startsWith('loop'));
    });
    afterAll(() => house().pods.remove(pod));

    test('is what is tried here', () => {
      expect(rows.map(({ asked }) => asked).sort()).toEqual(Object.keys(attempts).sort());
    });

    for (const { asked, status: name } of rows)
      test(`${asked}: ${name}`, async () => {
        for (const attempt of attempts[asked] ?? []) {
          const error = await attempt(house(), pod).then(
            () => undefined,
            (one: { code: number; details: string }) => one,
          );
          expect({ code: status[error?.code ?? 0], details: error?.details }).toEqual({
            code: name,
            details: expect.stringMatching(/\w+ \w+/),
          });
        }
      });

    test('and a secret that kubelet has mounted in another machine: UNIMPLEMENTED, where it would be found empty', async () => {
      const { folder, host, pods } = house();
      const hostPath = join(folder, 'pods/uid/volumes/kubernetes.io~secret/token');
      await mkdir(hostPath, { recursive: true });
      const mounts = [{ hostPath, containerPath: '/token', readonly: true }];
      const made = pods.create(pod, 'secret', ['true'], { mounts });
      if (host.provider === 'apple') await expect(made).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
      else await house().client.call('removeContainer', { containerId: await made });
    });

    test('is refused before anything is made', async () => {
      const { client } = house();
      const { containers } = await client.call('listContainers', { filter: { podSandboxId: pod.id } });
      expect(containers.map(({ metadata }) => metadata?.name)).toEqual(['to-checkpoint']);
      expect((await house().leftovers()).filter((one) => !one.startsWith('loop'))).toEqual(folders);
    });
  });
}
