/**
 * The amd64 image in the hands of both engines, and as a cluster: load, boot, restart, kubeadm, a running pod.
 */
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ContainerNode, type Engine, engineRequirements, startEngine } from '../support/engine.ts';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState, imageNames, initCluster, kubectl, runPod } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';

for (const name of ['podman', 'docker'] as const)
  describeWith(`the amd64 node image on ${name}`, ['full tier', ...engineRequirements[name], 'release files'], () => {
    let engine: Engine | undefined;
    let reference: string;
    let node: ContainerNode;

    beforeAll(async () => {
      const { archive } = await buildNode('amd64');
      engine = await startEngine(name);
      reference = await engine.load(archive);
      node = await engine.runNode(reference, { publish: [6443] });
    });
    afterAll(() => engine?.close());

    test('the archive loads under the name and platform it was built for', async () => {
      expect(reference).toBe(`localhost/kina/node:${kubernetes.version}`);
      expect((await engine!.inspect(reference)).Architecture).toBe('amd64');
    });

    test('boots with every image', async () => {
      expect(await bootState(node, 180)).toBe('running');
      expect(await imageNames(node)).toEqual(kubernetes.images);
    });

    // Importing again would cost seconds at every start, and bring back what a user removed.
    test('a restarted node does not import its images again', async () => {
      const stamps = "find /var/lib/kina/images -type f -exec stat -c '%n %Y' {} +";
      const before = await ask(node, stamps);
      expect(before).not.toBe('');
      await ask(node, `ctr --namespace k8s.io images rm ${kubernetes.pause}`);
      await node.stop();
      await node.start();
      expect(await bootState(node, 180)).toBe('running');
      expect(await ask(node, stamps)).toBe(before);
      expect(await imageNames(node)).not.toContain(kubernetes.pause);
    });

    test('a fresh node becomes a cluster whose pods run', async () => {
      const fresh = await engine!.runNode(reference, { publish: [6443] });
      expect(await bootState(fresh, 180)).toBe('running');
      await initCluster(fresh, { version: kubernetes.version, cgroupDriver: 'cgroupfs', timeout: 240 });
      expect(await runPod(fresh, kubernetes.pause, 120)).toMatch(/^10\.244\./);
      const phases = kubectl("get pods --all-namespaces --output jsonpath='{.items[*].status.phase}'");
      expect(new Set((await ask(fresh, phases)).split(' '))).toEqual(new Set(['Running']));

      const authority = await ask(fresh, 'cat /etc/kubernetes/pki/ca.crt');
      const answer = await getJson(await fresh.port(6443), '/version', authority);
      expect(answer).toMatchObject({ gitVersion: kubernetes.version, platform: 'linux/amd64' });
    });
  });

/** Asks the API server through the published port, as kubectl on the host would. */
async function getJson(port: number, path: string, ca: string): Promise<unknown> {
  const response = await new Promise<IncomingMessage>((done, failed) =>
    get({ host: '127.0.0.1', port, path, ca }, done).once('error', failed),
  );
  return json(response);
}
