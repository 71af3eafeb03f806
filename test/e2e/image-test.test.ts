/**
 * `kina image test` on images that are nodes and on images that are not, in each thing that it can boot them in: it has
 * to pass the ones, fail the others and say why, and leave nothing behind.
 */
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestReport } from '../../src/ops/boot/test-image.ts';
import { type CommandResult, cleanEnvironment, kina, projectRoot, run } from '../support/command.ts';
import { engineRequirements, startDockerDaemon } from '../support/engine.ts';
import { buildImage, kubernetes, sharedStore } from '../support/images.ts';
import { describeWith, podmanEnvironment } from '../support/requirements.ts';
import { vmRequirements } from '../support/vm.ts';

const node = 'localhost/kina/node:image-test';
const recipe = (name: string): string => join(projectRoot, `test/e2e/image-test/${name}.yaml`);
const podmanEnv: Record<string, string> = podmanEnvironment();

async function build(...args: string[]): Promise<void> {
  await buildImage('image-test', [kubernetes.version, ...args], { output: false });
}

function imageTest(args: readonly string[], env: Readonly<Record<string, string>>): Promise<CommandResult> {
  return kina(['image', 'test', ...args], { env: { KINA_CACHE_DIR: sharedStore, ...env } });
}

async function reportOf(args: readonly string[], env: Readonly<Record<string, string>>): Promise<TestReport> {
  const result = await imageTest([...args, '--json'], env);
  const report = JSON.parse(result.stdout) as TestReport;
  expect(result.code, result.stdout + result.stderr).toBe(report.passed ? 0 : 1);
  return report;
}

const statuses = (report: TestReport): Record<string, string> =>
  Object.fromEntries(report.results.map(({ id, status }) => [id, status]));

const booted = {
  systemd: 'passed',
  cgroup: 'passed',
  containerd: 'passed',
  snapshotter: 'passed',
  images: 'passed',
  container: 'passed',
  preflight: 'passed',
};

describeWith('image test in podman', ['full tier', ...engineRequirements.podman, 'release files'], () => {
  const env = { KINA_PROVIDER: 'podman', ...podmanEnv };

  beforeAll(async () => {
    await build('--platform', 'linux/amd64', '--tag', node);
    await build('--platform', 'linux/amd64', `--recipe=${recipe('no-cri')}`);
    await build('--platform', 'linux/amd64', `--recipe=${recipe('no-init')}`);
  });

  const leftovers = async (): Promise<string> => {
    const lists = [['ps', '--all'], ['images'], ['network', 'ls'], ['volume', 'ls']];
    const all = await Promise.all(lists.map((list) => run(['podman', ...list], { env: podmanEnv })));
    return all.map(({ stdout }) => stdout).join('');
  };
  afterAll(async () => expect(await leftovers()).not.toContain('image-test-'));

  test('a node passes, up to Ready, and the report is there for CI', async () => {
    const junit = join(tmpdir(), `kina-junit-${process.pid}.xml`);
    const report = await reportOf([node, '--init', '--junit', junit], env);
    expect(statuses(report)).toEqual({ ...booted, init: 'passed', ready: 'passed' });
    expect(report.target).toMatch(/^podman \d/);
    expect(await readFile(junit, 'utf8')).toContain('tests="9" failures="0" skipped="0"');
  });

  test('containerd without CRI boots, and is found', async () => {
    const report = await reportOf(['localhost/kina/no-cri:test'], env);
    expect(statuses(report)).toMatchObject({ systemd: 'passed', containerd: 'failed', preflight: 'skipped' });
    expect(report.results.find(({ id }) => id === 'containerd')).toMatchObject({
      reason: "containerd's CRI plugin is disabled",
    });
  });

  test('a node that ends at once is told with its last words', async () => {
    const { code, stdout } = await imageTest(['localhost/kina/no-init:test'], env);
    expect(code).toBe(1);
    expect(stdout).toContain('the node has ended');
    expect(stdout).toContain('/sbin/init: not found');
  });

  test('a time limit is a failure that says so', async () => {
    const report = await reportOf([node, '--timeout', '1s'], env);
    expect(report.results[0]).toMatchObject({ status: 'failed', reason: 'timed out; increase --timeout' });
  });

  test('Ctrl-C takes the node away', async () => {
    const { spawn } = await import('node:child_process');
    const child = spawn(process.execPath, [join(projectRoot, 'bin/kina.js'), 'image', 'test', node], {
      env: cleanEnvironment({ KINA_CACHE_DIR: sharedStore, ...env }),
      stdio: 'ignore',
    });
    const ended = new Promise<number | null>((done) => child.once('exit', done));
    while (!(await leftovers()).includes('image-test-')) await sleep(200);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(await leftovers()).not.toContain('image-test-');
  });
});

describeWith('image test in docker', ['full tier', ...engineRequirements.docker, 'release files'], () => {
  let daemon: Awaited<ReturnType<typeof startDockerDaemon>> | undefined;
  beforeAll(async () => {
    await build('--platform', 'linux/amd64', '--tag', node);
    daemon = await startDockerDaemon();
  });
  afterAll(() => daemon?.stop());

  test('a node passes and nothing stays', async () => {
    const env = { KINA_PROVIDER: 'docker', DOCKER_HOST: daemon!.socket };
    expect(statuses(await reportOf([node], env))).toEqual(booted);
    for (const list of [['ps', '--all'], ['images'], ['network', 'ls']])
      expect((await run(['docker', ...list], { env })).stdout).not.toContain('image-test-');
  });
});

describeWith('image test in a virtual machine', ['full tier', ...vmRequirements('arm64'), 'release files'], () => {
  beforeAll(async () => {
    await build('--platform', 'linux/arm64', '--tag', `${node}-arm64`);
    await build('--platform', 'linux/arm64', `--recipe=${recipe('no-init')}`);
  });

  test('a node of another architecture passes, without being asked to be emulated', async () => {
    const report = await reportOf([`${node}-arm64`], {});
    expect(statuses(report)).toEqual(booted);
    expect(report.target).toMatch(/qemu-system-aarch64, Linux \d/);
    expect(report.results[1]).toMatchObject({ detail: 'cgroup v2: cpu, cpuset, memory, pids' });
  });

  test('an image that the kernel cannot start is told with the end of the console', async () => {
    const report = await reportOf(['localhost/kina/no-init:test'], {});
    expect(report.results[0]).toMatchObject({ status: 'failed', reason: 'the machine has powered off' });
    expect(report.log.join('\n')).toContain('/sbin/init: not found');
  });
});
