/**
 * The shortest proof that a node image is one: the amd64 image boots under podman, with all it promises. The other
 * engines, clusters and suites are in the full tier (`KINA_E2E=full`).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ContainerNode, type Engine, engineRequirements, startEngine } from '../support/engine.ts';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState, imageNames, incompleteImages } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';

describeWith('the amd64 node image under podman', [...engineRequirements.podman, 'shared mirror'], () => {
  let engine: Engine | undefined;
  let node: ContainerNode;

  beforeAll(async () => {
    const { archive } = await buildNode('amd64');
    engine = await startEngine('podman');
    node = await engine.runNode(await engine.load(archive));
  });
  afterAll(() => engine?.close());

  test('boots without a failed unit', async () => {
    expect(await bootState(node, 180)).toBe('running');
  });

  test('holds every image of its release, complete, under the names that kubeadm asks for', async () => {
    expect(await imageNames(node)).toEqual(kubernetes.images);
    expect(await incompleteImages(node)).toEqual([]);
  });

  test('has the Kubernetes that was asked for', async () => {
    expect(await ask(node, 'cat /kind/version')).toBe(kubernetes.version);
    expect(await ask(node, 'kubelet --version')).toBe(`Kubernetes ${kubernetes.version}`);
    expect(await ask(node, 'kubeadm version -o short')).toBe(kubernetes.version);
    expect(await ask(node, 'kubectl version --client --short')).toContain(kubernetes.version);
  });

  test('a package manager and a scanner find every package', async () => {
    expect(await ask(node, 'dpkg --list systemd')).toMatch(/^ii {2}systemd /m);
    expect(await ask(node, 'dpkg --audit')).toBe('');
  });
});
