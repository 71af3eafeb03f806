/**
 * The peer: Debian's containerd with its own CRI and runc, on this host, beside whatever else runs here. It has a root, state
 * and socket of its own, the CNI plugins from their Debian package (unpacked, not installed) and the test registry as
 * mirror, so that nothing of the host is configured and `stop` leaves nothing behind.
 *
 *     node test/support/cri/containerd.ts REGISTRY_HOST     # until interrupted
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'smol-toml';
import { testCache } from '../cache.ts';
import { check, run, tail } from '../command.ts';
import { mirroredHosts } from '../cri-images.ts';
import { isConstrainedHost, missing } from '../requirements.ts';
import { openCri } from './client.ts';
import { openPackages } from './packages.ts';
import { type CriService, removePods } from './service.ts';

/** Two peers at a time, of two tests, must not meet in a network. */
const bridge = `kina-${process.pid % 100_000_000}`;
const subnet = `10.86.${process.pid % 256}.0/24`;

/** `registry`: `127.0.0.1:PORT` of the test images. */
export async function startContainerd(registry: string): Promise<CriService | { skip: string }> {
  const reason = missing(['containerd', 'runc', 'dpkg-deb', 'iptables', 'root']);
  if (reason !== undefined) {
    process.stderr.write(`SKIPPED: containerd: ${reason}\n`);
    return { skip: reason };
  }
  const folder = await mkdtemp(join(tmpdir(), 'kina-peer-'));
  const socket = join(folder, 'containerd.sock');
  await writeConfiguration(folder, socket, registry, await cniPlugins());
  const log = join(folder, 'log');
  const output = openSync(log, 'w');
  const argv = ['--config', join(folder, 'config.toml'), '--log-level', 'warn'];
  // A process group of its own: Ctrl-C is for the test, which then removes the pods through the service.
  const child = spawn('containerd', argv, { stdio: ['ignore', output, output], detached: true });
  closeSync(output);
  const service: CriService = {
    name: 'containerd',
    socket,
    pid: child.pid!,
    helpers: () => shims(socket),
    said: async () => tail(await readFile(log, 'utf8')),
    stop: () => stop(child, folder, socket),
  };
  try {
    const client = openCri(socket);
    await client.ready(30);
    await client.call('status', {}).finally(() => client.close());
  } catch (error) {
    const said = await service.said();
    await service.stop();
    throw new Error(`containerd did not start: ${(error as Error).message}\n${said}`);
  }
  return service;
}

/** bridge, host-local, portmap and the others, unpacked once into the test cache. */
async function cniPlugins(): Promise<string> {
  const folder = join(testCache, 'cni');
  const plugins = join(folder, 'usr/lib/cni');
  if (!existsSync(join(plugins, 'bridge'))) {
    const packages = await openPackages();
    await check(['dpkg-deb', '-x', await packages.file('containernetworking-plugins'), folder]);
  }
  return plugins;
}

async function writeConfiguration(folder: string, socket: string, registry: string, plugins: string): Promise<void> {
  const [cni, hosts] = [join(folder, 'cni'), join(folder, 'hosts')];
  await mkdir(cni);
  for (const host of mirroredHosts) {
    await mkdir(join(hosts, host), { recursive: true });
    // `server` too: containerd asks it when the mirror does not have something.
    const mirror = `http://${registry}`;
    await writeFile(join(hosts, host, 'hosts.toml'), stringify({ server: mirror, host: { [mirror]: {} } }));
  }
  const network = {
    cniVersion: '0.4.0',
    name: 'kina-peer',
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipMasq: true,
        ipam: {
          type: 'host-local',
          dataDir: join(folder, 'addresses'),
          ranges: [[{ subnet }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
  await writeFile(join(cni, '10-kina-peer.conflist'), JSON.stringify(network));
  const cri = {
    sandbox_image: 'registry.k8s.io/pause:3.9',
    stream_server_address: '127.0.0.1',
    stream_server_port: '0',
    // Lowering a score needs CAP_SYS_RESOURCE.
    restrict_oom_score_adj: isConstrainedHost(),
    cni: { bin_dir: plugins, conf_dir: cni },
    registry: { config_path: hosts },
  };
  const config = {
    version: 2,
    root: join(folder, 'root'),
    state: join(folder, 'state'),
    grpc: { address: socket },
    plugins: {
      'io.containerd.grpc.v1.cri': cri,
      'io.containerd.internal.v1.opt': { path: join(folder, 'opt') },
    },
  };
  await writeFile(join(folder, 'config.toml'), stringify(config));
}

/** Every pod has a shim, which outlives containerd and is named after its socket. */
async function shims(socket: string): Promise<number[]> {
  const found = await run(['pgrep', '-f', `^\\S*containerd-shim-runc-v2 .*-address ${socket}( |$)`]);
  return found.stdout.split('\n').filter(Boolean).map(Number);
}

async function stop(child: ChildProcess, folder: string, socket: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    await removePods(socket);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  }
  for (const pid of await shims(socket)) await run(['kill', '-9', String(pid)]);
  await run(['ip', 'link', 'delete', bridge]);
  await rm(folder, { recursive: true, force: true });
}

if (import.meta.main) {
  const [registry] = process.argv.slice(2);
  if (registry === undefined) {
    console.error('Usage: node test/support/cri/containerd.ts REGISTRY_HOST');
    process.exit(2);
  }
  const service = await startContainerd(registry);
  if (service.skip !== undefined) process.exit(1);
  console.log(`unix://${service.socket}`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void service.stop());
}
