/**
 * The shortest proof that a node image is one: the amd64 image boots under podman, with all it promises. The other
 * engines, clusters and suites are in the full tier (`KINA_E2E=full`).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packagesOf } from '../../src/layers/image/packages.ts';
import { Tree } from '../../src/tree/tree.ts';
import { type ContainerNode, type Engine, engineRequirements, startEngine } from '../support/engine.ts';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState, imageNames, incompleteImages } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';

describeWith('the amd64 node image under podman', [...engineRequirements.podman, 'release files'], () => {
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

  test('a package manager and a scanner find the same packages, all of them whole', async () => {
    expect(await ask(node, 'dpkg --audit')).toBe('');
    // What was pruned is pruned by rules that dpkg has too, and nothing else of a package was changed, also by the boot.
    expect(await ask(node, 'dpkg --verify')).toBe('');
    const listed = await ask(node, "dpkg-query -W -f='${Package} ${Version} ${Architecture} ${db:Status-Status}\\n'");
    // Scanners read the database themselves; so does kina in `image diff`.
    const texts = new Map([['var/lib/dpkg/status', await ask(node, 'cat /var/lib/dpkg/status')]]);
    const found = [...packagesOf({ tree: new Tree(), texts }).packages.values()];
    const lines = found.map(({ name, version, architecture }) => `${name} ${version} ${architecture} installed`);
    expect(lines.sort()).toEqual(listed.split('\n').sort());
    expect(lines.some((line) => line.startsWith('systemd '))).toBe(true);
  });

  test('has what the image leaves to systemd-tmpfiles', async () => {
    const places = '/etc/credstore /run/lock /var/lib/private /var/log/private /var/lib/systemd/coredump';
    const modes = await ask(node, `stat -c '%a' ${places}; readlink /etc/mtab`);
    expect(modes.split('\n')).toEqual(['700', '1777', '700', '700', '755', '../proc/self/mounts']);
  });
});
