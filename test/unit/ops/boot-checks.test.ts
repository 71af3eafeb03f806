/**
 * What the checks say of nodes that are not well. The commands run for real, in a shell whose systemctl and ctr answer as
 * recorded from containerd 1.6.20, 1.7.24 and systemd 257; nodes that are well are in the end-to-end tests.
 */
import { expect, test } from 'vitest';
import type { BootOutcome } from '../../../src/ops/boot/check.ts';
import { checks } from '../../../src/ops/boot/checks.ts';
import type { BootTarget } from '../../../src/ops/boot/target.ts';
import { describeUnless } from '../../support/requirements.ts';
import { NodeRoot, noShell } from '../node-files/support.ts';

/** Runs one check in a shell with these programs. */
async function outcome(id: string, programs: Readonly<Record<string, string>>): Promise<BootOutcome> {
  using root = new NodeRoot();
  for (const [name, script] of Object.entries(programs)) root.program(name, script);
  const node: BootTarget = {
    title: 'a shell',
    patience: 1,
    exec: async (command) => {
      const { code, stdout, messages } = await root.exec(['dash', '-c', command]);
      return { code, stdout, stderr: messages.join('\n') };
    },
    logs: async () => '',
    stop: async () => {},
  };
  // awaited here: the shell's folder goes with this function, and after it the machine's own programs would answer
  return await checks.find((check) => check.id === id)!.run(node);
}

const plugins = (cri: string): string => `case "$*" in
  version) printf 'Client:\\n  Version:  1.6.20~ds1\\n\\nServer:\\n  Version:  1.6.20~ds1\\n' ;;
  'plugins ls') cat <<'.'
TYPE                                  ID                       PLATFORMS      STATUS
io.containerd.content.v1              content                  -              ok
io.containerd.snapshotter.v1          devmapper                linux/amd64    error
${cri}
.
  ;;
esac`;

describeUnless(noShell, 'checks', () => {
  test('a unit that failed is named, with its journal', async () => {
    const found = await outcome('systemd', {
      systemctl: `case "$*" in
        is-system-running) echo degraded; exit 1 ;;
        *--failed*) echo 'kubelet.service loaded failed failed kubelet: The Kubernetes Node Agent' ;;
      esac`,
      journalctl: 'echo "Main process exited, code=exited, status=203/EXEC"',
    });
    expect(found).toMatchObject({ status: 'failed', reason: 'units failed: kubelet.service' });
    expect(found).toHaveProperty('output', expect.stringContaining('203/EXEC'));
  });

  test('an image without systemd is told at once, not after the time is up', async () => {
    expect(await outcome('systemd', { systemctl: 'exit 127' })).toMatchObject({
      status: 'failed',
      reason: 'the image has no systemctl',
    });
  });

  test.each([
    ['disabled', '', "containerd's CRI plugin is disabled"],
    [
      'broken',
      'io.containerd.grpc.v1                 cri                      linux/amd64    error',
      "containerd's CRI plugin does not work",
    ],
  ])('CRI that is %s', async (_what, row, reason) => {
    const found = await outcome('containerd', { ctr: plugins(row) });
    expect(found).toMatchObject({ status: 'failed', reason });
    // checks that passed explain nothing
    expect(found).toHaveProperty('output', expect.not.stringContaining('content.v1'));
  });

  test.each([
    ['1', 'io.containerd.grpc.v1                 cri                      linux/amd64    ok'],
    ['2', 'io.containerd.cri.v1                  runtime                  linux/amd64    ok'],
  ])('CRI as containerd %s lists it', async (_major, row) => {
    expect(await outcome('containerd', { ctr: plugins(row) })).toEqual({
      status: 'passed',
      detail: 'containerd 1.6.20~ds1',
    });
  });

  test('containerd that does not answer is explained by its unit', async () => {
    const found = await outcome('containerd', {
      ctr: 'echo "ctr: failed to dial" >&2; exit 1',
      systemctl: 'echo "invalid TOML in config.toml"',
    });
    expect(found).toMatchObject({ status: 'failed', reason: 'containerd does not answer' });
    expect(found).toHaveProperty('output', expect.stringMatching(/failed to dial[\s\S]*invalid TOML/));
  });

  test('what kubeadm objects to is named', async () => {
    const found = await outcome('preflight', {
      kubeadm: `case "$*" in
        version*) echo v1.34.2 ;;
        *) printf '[preflight] Running\\n\\t[ERROR FileExisting-conntrack]: conntrack not found in system path\\n'; exit 1 ;;
      esac`,
      crictl: '',
      mkdir: '', // so that the configuration has nowhere to go on this machine
    });
    expect(found).toMatchObject({ status: 'failed', reason: 'kubeadm reports: FileExisting-conntrack' });
  });

  test('an image without kubeadm does not fail', async () => {
    expect(await outcome('preflight', { kubeadm: 'exit 127' })).toEqual({
      status: 'skipped',
      reason: 'the image has no kubeadm',
    });
  });
});
