/**
 * The arm64 image as a machine of its own: arm64 code, a stock kernel, cgroup v2, the root on ext4, no container engine
 * around it. The only proof short of a Mac that the image for Macs works, so it stays in the short tier.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState, imageNames, incompleteImages } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';
import { bootVm, type Vm, vmRequirements } from '../support/vm.ts';

describeWith('the arm64 node image as a virtual machine', [...vmRequirements('arm64'), 'release files'], () => {
  let vm: Vm | undefined;

  beforeAll(async () => {
    const { archive } = await buildNode('arm64');
    vm = await bootVm({ archive, platform: 'linux/arm64', memory: 4096 });
    console.log(`power-on to the first command: ${vm.bootMs} ms`);
  });
  afterAll(() => vm?.stop());

  test('boots without a failed unit', async () => {
    expect(await bootState(vm!, 400)).toBe('running');
    console.log(await ask(vm!, 'systemd-analyze'));
  });

  test('is what it claims to be', async () => {
    expect(await ask(vm!, 'uname -m')).toBe('aarch64');
    expect(await ask(vm!, 'findmnt -no FSTYPE /')).toBe('ext4');
    expect(await ask(vm!, 'findmnt -no FSTYPE /sys/fs/cgroup')).toBe('cgroup2');
    expect(await ask(vm!, 'cat /proc/1/comm')).toBe('systemd');
  });

  test('containerd has every image of the release, complete', async () => {
    expect(await imageNames(vm!)).toEqual(kubernetes.images);
    expect(await incompleteImages(vm!)).toEqual([]);
  });
});
