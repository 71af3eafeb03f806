import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeUnless } from '../../support/requirements.ts';
import { NodeRoot, nodeFiles, noShell } from './support.ts';

describeUnless(noShell, 'preload', () => {
  const preload = ['dash', join(nodeFiles, 'usr/local/lib/kina/preload')];
  const imports = (calls: readonly string[]): string[] => calls.filter((call) => call.startsWith('ctr --namespace'));
  /** An archive whose index says what is in it, as real ones do. */
  const archive = (node: NodeRoot, name: string, index: string): void => {
    node.write('tmp/index.json', index);
    node.write('kind/images/.keep', '');
    execFileSync('tar', ['-C', join(node.path, 'tmp'), '-cf', join(node.path, 'kind/images', name), 'index.json']);
  };
  const node = (help = ''): NodeRoot => {
    const made = new NodeRoot();
    archive(made, 'a.tar', '{"a":1}');
    archive(made, 'b.tar', '{"b":1}');
    made.program('ctr', `case "$*" in *--help) echo '${help}' ;; esac`);
    return made;
  };

  test('imports each archive once, and again when its content is another', async () => {
    using root = node();
    expect(imports((await root.exec(preload)).calls)).toEqual(
      ['a', 'b'].map((n) => `ctr --namespace=k8s.io images import --no-unpack /kind/images/${n}.tar`),
    );
    expect(imports((await root.exec(preload)).calls)).toEqual([]);
    archive(root, 'b.tar', '{"b":2}');
    expect(imports((await root.exec(preload)).calls).map((call) => call.slice(-5))).toEqual(['b.tar']);
  });

  // containerd 1.6 has no such flag and would import nothing.
  test.each([
    ['--label value', true],
    ['', false],
  ])('pins images only with a ctr that can: %j', async (help, pins) => {
    using root = node(help);
    const [first] = imports((await root.exec(preload)).calls);
    expect(first?.includes('--label=io.cri-containerd.pinned=pinned')).toBe(pins);
  });

  test('an archive that fails is tried at the next start, the others are not held up', async () => {
    using root = node();
    root.program('ctr', 'case "$*" in *a.tar) exit 1 ;; esac');
    const { code, messages } = await root.exec(preload);
    expect(code).toBe(1);
    expect(messages).toContain('ERROR: images of a.tar could not be loaded');
    expect(messages).toContain('INFO: images of b.tar are loaded');
    expect(imports((await root.exec(preload)).calls).map((call) => call.slice(-5))).toEqual(['a.tar']);
  });

  test('no archives is nothing to do', async () => {
    using root = new NodeRoot();
    expect((await root.exec(preload)).code).toBe(0);
  });
});

describeUnless(noShell, 'create-kubelet-cgroup-v2.sh', () => {
  const script = ['dash', join(nodeFiles, 'kind/bin/create-kubelet-cgroup-v2.sh')];
  const cgroup = 'sys/fs/cgroup';

  test('refuses v1, and a root group with processes, which takes no controllers', async () => {
    using v1 = new NodeRoot();
    expect(await v1.exec(script)).toMatchObject({ code: 1, messages: ['ERROR: this node has no cgroup v2'] });
    using busy = new NodeRoot({
      [`${cgroup}/cgroup.controllers`]: 'cpu\n',
      [`${cgroup}/cgroup.type`]: 'domain\n',
      [`${cgroup}/cgroup.procs`]: '1\n',
    });
    expect(await busy.exec(script)).toMatchObject({
      code: 1,
      messages: ['ERROR: the root cgroup still has processes'],
    });
  });

  // Found in a virtual machine: the kernel's threads never leave the root of the hierarchy.
  test("makes both of kubelet's groups in a machine's own root, and hands controllers down", async () => {
    using node = new NodeRoot({
      [`${cgroup}/cgroup.controllers`]: 'cpu memory pids\n',
      [`${cgroup}/cgroup.procs`]: '2\n3\n',
      [`${cgroup}/kubelet/cgroup.controllers`]: 'pids\n',
      [`${cgroup}/kubelet.slice/cgroup.controllers`]: 'pids\n',
    });
    expect((await node.exec(script)).code).toBe(0);
    // A plain file keeps the last of the three writes.
    expect(node.read(`${cgroup}/cgroup.subtree_control`)).toBe('+pids\n');
    for (const group of ['kubelet', 'kubelet.slice'])
      expect(node.read(`${cgroup}/${group}/cgroup.subtree_control`)).toBe('+pids\n');
  });
});

describeUnless(noShell, 'mount-product-files.sh', () => {
  // A hook that fails keeps every pod from starting.
  test.each(['', 'not json', '{"bundle":"/nonexistent"}'])('never fails: state %j', async (state) => {
    using node = new NodeRoot();
    const hook = join(nodeFiles, 'kind/bin/mount-product-files.sh');
    const { code, stdout, messages } = await node.exec(['dash', '-c', `printf '%s' "$1" | dash ${hook}`, 'x', state]);
    expect([code, stdout, messages]).toEqual([0, '', []]);
  });
});
