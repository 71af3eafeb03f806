/** When the creation of a cluster fails, everything is cleaned up, and the reason is reported. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { clusterRequirements } from '../support/cluster.ts';
import { check, cleanEnvironment, kina, projectRoot } from '../support/command.ts';
import { buildImage, kubernetes, sharedStore } from '../support/images.ts';
import { describeWith, podmanEnvironment } from '../support/requirements.ts';

describeWith('a creation that fails', ['full tier', ...clusterRequirements('podman')], () => {
  const name = `faults-${process.pid}`;
  const image = ['--image', `localhost/kina/node:${kubernetes.version}`];
  const env: Record<string, string> = {
    KINA_CACHE_DIR: sharedStore,
    KINA_PROVIDER: 'podman',
    KINA_CLUSTER_NAME: name,
    ...podmanEnvironment(),
  };
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-faults-'));
    env.KUBECONFIG = join(folder, 'kubeconfig');
    await buildImage('node-faults', [kubernetes.version], { output: false });
  });
  afterAll(async () => {
    await kina(['delete', 'cluster'], { env });
    await rm(folder, { recursive: true, force: true });
  });

  /** Names of everything of the cluster that podman has. */
  async function left(): Promise<string[]> {
    const lists = await Promise.all([
      check(['podman', 'ps', '--all', '--format', '{{.Names}}'], { env }),
      check(['podman', 'volume', 'ls', '--format', '{{.Name}}'], { env }),
      check(['podman', 'network', 'ls', '--format', '{{.Name}}'], { env }),
    ]);
    return lists.flatMap((list) => list.split('\n')).filter((one) => one.includes(name));
  }

  const broken = {
    kind: 'Cluster',
    apiVersion: 'kind.x-k8s.io/v1alpha4',
    // it parses, and containerd cannot start with it
    containerdConfigPatches: ['root = "/proc/nowhere"'],
  };

  test('says on which node which command failed, and leaves nothing', async () => {
    const file = join(folder, 'broken.yaml');
    await writeFile(file, stringify(broken));
    const result = await kina(['create', 'cluster', ...image, '--config', file], { env });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(
      `on node ${name}-control-plane, \`systemctl restart containerd\` failed with exit code 1`,
    );
    expect(await left()).toEqual([]);
  });

  test('keeps the nodes with --retain, whose logs can be had; then the name is taken', async () => {
    const file = join(folder, 'broken.yaml');
    expect((await kina(['create', 'cluster', ...image, '--config', file, '--retain'], { env })).code).toBe(1);
    expect(await left()).toContain(`${name}-control-plane`);
    const logs = await kina(['export', 'logs', join(folder, 'logs')], { env });
    expect(logs.stdout.trim()).toBe(join(folder, 'logs'));
    expect(await check(['cat', join(folder, `logs/${name}-control-plane/containerd.log`)])).toContain('/proc/nowhere');
    const again = await kina(['create', 'cluster', ...image], { env });
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('node(s) already exist for a cluster with the name');
    await kina(['delete', 'cluster'], { env });
    expect(await left()).toEqual([]);
  });

  test('Ctrl-C cleans up what was created', async () => {
    const child = spawn(process.execPath, [join(projectRoot, 'bin/kina.js'), 'create', 'cluster', ...image], {
      env: cleanEnvironment(env),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    const code = await new Promise((done) => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        if (!said.includes('Starting control plane') && (said + text).includes('Starting control plane'))
          child.kill('SIGINT');
        said += text;
      });
      child.once('exit', (status) => done(status));
    });
    expect(said).toContain('interrupted by SIGINT');
    expect(code).toBe(130);
    expect(await left()).toEqual([]);
  });

  test('a kubeconfig that cannot be written is a failure as well', async () => {
    const result = await kina(['create', 'cluster', ...image, '--kubeconfig', '/proc/kubeconfig'], { env });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('/proc/kubeconfig');
    expect(await left()).toEqual([]);
  });
});
