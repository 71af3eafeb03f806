/**
 * kina as a container image, and the Job of examples/ci with it: on a cluster that kina made, a pod without root, privileges
 * or a writable root file system builds node images for two platforms from a lock and pushes them. Its network reaches a
 * mirror of what the lock needs and a registry, both on the address that the host has in the cluster's network.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { debianMirror } from '../support/cache.ts';
import { clusterRequirements, createTestCluster, type TestCluster } from '../support/cluster.ts';
import { check, cleanEnvironment, projectRoot, run } from '../support/command.ts';
import { buildImage, digestOf, sharedStore } from '../support/images.ts';
import { noRegistry, packProject } from '../support/package.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { describeUnless, missing, noDebianMirror, podmanEnvironment } from '../support/requirements.ts';

const image = `localhost/kina-test/kina:${process.pid}`;
const platforms = 'linux/amd64,linux/arm64';
const impossible =
  missing(['full tier', ...clusterRequirements('podman'), 'npm', 'git', 'skopeo', 'docker-registry']) ??
  (await noRegistry()) ??
  (await noDebianMirror());

/** What `kina` answers; throws when it fails. */
async function kina(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const all = { KINA_CACHE_DIR: sharedStore, KINA_DEBIAN_MIRROR: debianMirror, ...env };
  return check([process.execPath, join(projectRoot, 'bin/kina.js'), '--quiet', ...args], { env: all });
}

describeUnless(impossible, 'kina in a container', () => {
  let folder: string;
  let project: string;
  let archive: string;
  const podman: Record<string, string> = podmanEnvironment();
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-job-'));
    const { file } = await packProject(folder);
    project = join(folder, 'project');
    await rename(file, join(project, basename(file)));
    const built = await buildImage('kina', [
      ...[
        '--recipe',
        join(project, 'recipes/kina.yaml'),
        '--set',
        await registrySetting(),
        '--tag',
        image,
        '--platform',
        platforms,
      ],
    ]);
    archive = built.archive;
    await check(['podman', 'load', '--quiet', '--input', archive], { env: podman });
  });
  afterAll(async () => {
    await run(['podman', 'rmi', image], { env: podman });
    await kina(['image', 'rm', image]);
    if (archive) await rm(archive);
    await rm(folder, { recursive: true, force: true });
  });

  test('the same bytes from another folder and an empty store', async () => {
    const other = join(folder, 'elsewhere');
    await cp(join(project, 'recipes'), join(other, 'recipes'), { recursive: true });
    for (const name of ['package-lock.json', basename(await packed())])
      await copyFile(join(project, name), join(other, name));
    const again = await buildImage(
      'kina-again',
      [
        '--recipe',
        join(other, 'recipes/kina.yaml'),
        '--set',
        await registrySetting(),
        '--tag',
        image,
        '--platform',
        platforms,
      ],
      { store: join(folder, 'store'), umask: '077', env: { TZ: 'Asia/Kathmandu', LC_ALL: 'C' } },
    );
    expect(await digestOf(again.archive)).toBe(await digestOf(archive));
    await rm(again.archive);
  });
  const packed = async (): Promise<string> => {
    const { version } = JSON.parse(await readFile(join(project, 'package.json'), 'utf8')) as { version: string };
    return `kina-${version}.tgz`;
  };

  test('is not root, and says so to engines and to `kina image inspect`', async () => {
    const [seen] = JSON.parse(await check(['podman', 'image', 'inspect', image], { env: podman }));
    expect(seen.Config).toMatchObject({ User: '65532:65532', Entrypoint: ['/usr/bin/kina'], WorkingDir: '/work' });
    const shown = await kina(['image', 'inspect', image]);
    expect(shown).toMatch(/^starts +\/usr\/bin\/kina$/m);
    expect(shown).toMatch(/^user +65532:65532$/m);
  });

  const inContainer = (args: readonly string[], flags: readonly string[] = []) =>
    run(
      [
        'podman',
        'run',
        '--rm',
        '--read-only',
        '--read-only-tmpfs=false',
        '--network=none',
        '--cap-drop=all',
        '--security-opt=no-new-privileges',
        ...flags,
        image,
        ...args,
      ],
      { env: podman },
    );

  test('runs without a writable root, network, rights or an account', async () => {
    const { version } = JSON.parse(await readFile(join(project, 'package.json'), 'utf8')) as { version: string };
    expect(await inContainer(['--version'])).toMatchObject({
      code: 0,
      stderr: '',
      stdout: `kina version ${version}\n`,
    });
    const store = ['--tmpfs=/var/cache/kina:mode=1777', '--user=123456:0'];
    expect(await inContainer(['image', 'ls', '--json'], store)).toMatchObject({ code: 0, stdout: '[]\n' });
  });

  test('a store that cannot be written is told as such', async () => {
    const { code, stderr } = await inContainer(['image', 'ls']);
    expect(code).toBe(1);
    expect(stderr).toContain('the store /var/cache/kina cannot be written');
    expect(stderr).toContain('KINA_CACHE_DIR');
  });

  describe('as a Job', () => {
    let cluster: TestCluster;
    let registry: Registry;
    let lock: string;
    const closing: (() => unknown)[] = [];
    beforeAll(async () => {
      cluster = await createTestCluster({ engine: 'podman' });
      await cluster.kina(['load', 'image', image]);
      const address = await gateway(cluster);
      lock = join(folder, 'kina.lock');
      await kina(['lock', '--recipe', 'minimal', '--platform', platforms, '--output', lock]);
      const mirror = await serveMirror(lock, join(folder, 'mirror'), address);
      closing.push(mirror.stop);
      registry = await startWithLogin(address, folder);
      closing.push(() => registry.stop());
      const auth = Buffer.from(`kina:${secret}`).toString('base64');
      await writeFile(join(folder, 'auth.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
      // As the example says.
      await cluster.kubectl(['create', 'configmap', 'kina-lock', `--from-file=${lock}`]);
      const login = `--from-file=auth.json=${join(folder, 'auth.json')}`;
      await cluster.kubectl(['create', 'secret', 'generic', 'kina-login', login]);
      network = { url: mirror.url, registry: registry.host };
    });
    afterAll(async () => {
      await cluster?.close();
      for (const close of closing.reverse()) await close();
    });
    let network: { url: string; registry: string };

    test('builds both platforms from the lock, and pushes what the host makes of it', async () => {
      const job = adapt(await example('kubernetes-job.yaml'), network);
      await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(job) });
      const log = await finished(cluster, 'node-image');
      console.log(`the Job took ${await seconds(cluster, 'node-image')} s\n${log}`);
      const pushed = await rawDigest(registry.host);
      // the log has both streams, in the order in which containerd heard of them
      expect(log.split('\n')).toContain(`${registry.host}/node:v1.34.2@${pushed}`);
      const flags = ['--recipe', 'minimal', '--lock', lock, '--platform', platforms, '--compression', 'zstd'];
      const here = await kina(['build', 'node-image', ...flags, '--tag', 'localhost/kina-test/job:1']);
      expect(here).toBe(`localhost/kina-test/job:1@${pushed}`);
      await kina(['image', 'rm', 'localhost/kina-test/job:1']);
    });

    test('as a CronJob: the next time it is in the cache of the registry', async () => {
      const cron = await example('kubernetes-cronjob.yaml');
      const job = await example('kubernetes-job.yaml');
      // What the night's build asks for is not in a closed network: the locked one again, in the CronJob's own pod.
      const container = cron.spec.jobTemplate.spec.template.spec.containers[0];
      const locked = job.spec.template.spec;
      container.args = locked.containers[0].args;
      container.volumeMounts.push(locked.containers[0].volumeMounts.find((one: Named) => one.name === 'lock'));
      cron.spec.jobTemplate.spec.template.spec.volumes.push(locked.volumes.find((one: Named) => one.name === 'lock'));
      // Kubernetes 1.20 has no batch/v1 for them yet; the fields are the same.
      const old = { ...adapt(cron, network), apiVersion: 'batch/v1beta1' };
      await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(old) });
      await cluster.kubectl(['create', 'job', '--from=cronjob/node-image-nightly', 'again']);
      const log = await finished(cluster, 'again');
      expect(log).toMatch(/cached/);
      expect(log).not.toMatch(/built in/);
      expect(log).toContain(await rawDigest(registry.host));
    });
  });
});

interface Named {
  readonly name: string;
}
const secret = 'planted-secret-4711';
/** bcrypt of the secret, as `htpasswd -B` writes it. */
const htpasswd = 'kina:$2y$05$abcdefghijklmnopqrstuuC04Fhah/qB6JNtfpG5azLfv0CcLYoje\n';

// biome-ignore lint/suspicious/noExplicitAny: Kubernetes objects
async function example(name: string): Promise<any> {
  return parse(await readFile(join(projectRoot, 'examples/ci', name), 'utf8'));
}

/** The example with the addresses of this network, and the flags that a registry without TLS needs; nothing else. */
function adapt<T>(object: T, { url, registry }: { url: string; registry: string }): T {
  const text = JSON.stringify(object)
    .replaceAll(/registry\.example\.org\/kina:[\d.]+/g, image)
    .replaceAll('registry.example.org', registry)
    .replace('"--push"', `"--push","--insecure-registry=${registry}"`)
    .replace(
      '"env":[',
      `"env":[{"name":"KINA_MIRROR","value":"${url}"},{"name":"KINA_DEBIAN_MIRROR","value":"${url}/debian"},{"name":"KINA_DEBIAN_SECURITY_MIRROR","value":"${url}/debian-security"},`,
    );
  return JSON.parse(text) as T;
}

/** The host's own address in the cluster's network, which pods reach through their node. */
async function gateway(cluster: TestCluster): Promise<string> {
  const [found] = JSON.parse(await cluster.engineCall(['network', 'inspect', `kina-${cluster.name}`])) as [
    { subnets: { gateway: string }[] },
  ];
  return found.subnets.map((one) => one.gateway).find((one) => one.includes('.'))!;
}

/** `kina mirror create` and `kina mirror serve`, as for a closed network. */
async function serveMirror(lock: string, into: string, address: string) {
  await kina(['mirror', 'create', lock, into]);
  const argv = [join(projectRoot, 'bin/kina.js'), 'mirror', 'serve', into, '--host', address, '--port', '0', '--json'];
  const child = spawn(process.execPath, argv, { env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise<string>((done, failed) => {
    child.once('exit', (code) => failed(new Error(`kina mirror serve ended with ${code}`)));
    createInterface({ input: child.stdout }).once('line', (line) => done(JSON.parse(line).url));
  });
  const stop = async (): Promise<void> => {
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await gone;
  };
  return { url, stop };
}

async function startWithLogin(address: string, folder: string): Promise<Registry> {
  const path = join(folder, 'htpasswd');
  await writeFile(path, htpasswd);
  const started = await startRegistry({
    address,
    auth: `{ htpasswd: { realm: kina, path: ${JSON.stringify(path)} } }`,
  });
  if (started.skip !== undefined) throw new Error(started.skip);
  return started;
}

/** What the Job's pod said, when it is complete; throws with the same when it is not. */
async function finished(cluster: TestCluster, job: string): Promise<string> {
  const waited = await cluster.tryKubectl(['wait', '--for=condition=complete', `job/${job}`, '--timeout=600s'], {
    timeout: 620,
  });
  const log = await cluster.kubectl(['logs', `job/${job}`, '--all-containers']);
  if (waited.code !== 0)
    throw new Error(`${log}\n${await cluster.kubectl(['describe', 'pods', `--selector=job-name=${job}`])}`);
  return log;
}

async function seconds(cluster: TestCluster, job: string): Promise<number> {
  const { status } = JSON.parse(await cluster.kubectl(['get', 'job', job, '--output=json']));
  return (Date.parse(status.completionTime) - Date.parse(status.startTime)) / 1000;
}

/** skopeo's opinion: the digest of what the registry has under the name. */
async function rawDigest(host: string): Promise<string> {
  const flags = ['--raw', '--tls-verify=false', '--creds', `kina:${secret}`];
  const raw = await run(['skopeo', 'inspect', ...flags, `docker://${host}/node:v1.34.2`]);
  if (raw.code !== 0) throw new Error(raw.stderr);
  return `sha256:${createHash('sha256').update(raw.stdout).digest('hex')}`;
}

/** npm's own: the recipe knows none. */
async function registrySetting(): Promise<string> {
  return `registry=${await check(['npm', 'config', 'get', 'registry'])}`;
}
