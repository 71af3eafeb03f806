/**
 * From power-on to a Ready node on arm64, with the image's entrypoint as a runtime for virtual machines starts it; then
 * off and on again.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState, initCluster, kubectl, runPod } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';
import { bootVm, type Vm, vmRequirements } from '../support/vm.ts';

const needs = ['full tier', ...vmRequirements('arm64'), 'release files'];

describeWith('a cluster in an arm64 virtual machine', needs, () => {
  let vm: Vm | undefined;
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);

  beforeAll(async () => {
    const { archive } = await buildNode('arm64');
    vm = await bootVm({ archive, platform: 'linux/arm64', memory: 6144, entrypoint: true });
  });
  afterAll(() => vm?.stop());

  test('boots through its entrypoint', async () => {
    expect(await bootState(vm!, 400)).toBe('running');
    expect(await ask(vm!, 'cat /proc/1/comm')).toBe('systemd');
    console.log(`running after ${seconds()} s`);
  });

  test('kubeadm makes a Ready node whose pods run', async () => {
    await initCluster(vm!, { version: kubernetes.version, cgroupDriver: 'cgroupfs', timeout: 900 });
    console.log(`Ready after ${seconds()} s`);
    expect(await runPod(vm!, kubernetes.pause, 300)).toMatch(/^10\.244\./);
    const nodes = await ask(vm!, kubectl("get nodes --output jsonpath='{.items[*].status.nodeInfo}'"));
    expect(JSON.parse(nodes)).toMatchObject({ architecture: 'arm64', kubeletVersion: kubernetes.version });
  });

  test('is Ready again after a shutdown', async () => {
    await vm!.restart();
    expect(await bootState(vm!, 400)).toBe('running');
    await ask(vm!, `until ${kubectl('get --raw /readyz')}; do sleep 2; done`, 600);
    await ask(vm!, kubectl('wait --for=condition=Ready node --all --timeout=600s'), 630);
  });
});
