/**
 * The images that critest pulls, for machines that do not reach the registries it names. Each has what the suite asks of it
 * (the comments say which spec) and comes from Debian packages through kina's own code; one real registry on loopback stands
 * for all three hosts, and a runtime under test has it as their mirror. What no rebuilt image can offer is a digest that
 * the suite fixes: the spec that pulls `test-image-digest@sha256:9700…` fails wherever upstream's registry is out of reach.
 *
 *     node test/support/cri-images.ts serve [--port N]
 */
import { parseArgs } from 'node:util';
import { silent } from '../../src/host/progress.ts';
import { buildLayer } from '../../src/layers/layer.ts';
import { buildImage, buildIndex, type ImageInput } from '../../src/oci/image/build.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { pushImage } from '../../src/oci/registry/push.ts';
import { storeImage } from '../../src/oci/store/image.ts';
import { bytesContent, type Entry } from '../../src/tree/entry.ts';
import { comparePaths, directory, file, symlink, Tree } from '../../src/tree/tree.ts';
import { accountFiles, busyboxTree } from './cri/busybox.ts';
import { openPackages, type Packages, runnable } from './cri/packages.ts';
import { type Registry, startRegistry } from './registry.ts';

/** An image's configuration; more of it than kina's own images use. */
interface Config {
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
}
interface TestImage {
  /** Names that are one and the same image. */
  readonly names: readonly string[];
  /** Names of `layers`, lowest first. */
  readonly layers: readonly string[];
  readonly config: Config;
}

/** The hosts whose images are served. */
export const mirroredHosts = ['registry.k8s.io', 'gcr.io', 'k8s.gcr.io'] as const;

const e2e = 'registry.k8s.io/e2e-test-images';
const staging = 'gcr.io/k8s-staging-cri-tools';
const Env = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
const nginx = { Env, Cmd: ['nginx', '-e', 'stderr', '-g', 'daemon off;'] };
const sh = { Env, Cmd: ['sh'] };

/** What critest v1.36 names on this machine's architecture. */
function testImages(): readonly TestImage[] {
  const small = (name: string, tags: readonly string[], user?: string): TestImage => ({
    names: tags.map((tag) => `${staging}/${name}:${tag}`),
    layers: ['busybox', `mark ${name} ${tags[0]}`],
    config: user === undefined ? sh : { ...sh, User: user },
  });
  return [
    { names: [`${e2e}/busybox:1.29-2`], layers: ['busybox', 'tools'], config: sh },
    { names: [`${e2e}/nginx:1.14-2`], layers: ['busybox', 'nginx', 'port 80'], config: nginx },
    {
      names: [`${staging}/hostnet-nginx-${hostPlatform().architecture}:latest`],
      layers: ['busybox', 'nginx', 'port 12003'],
      config: nginx,
    },
    // The log has to say "httpd": Apache's first line is the command that started it.
    {
      names: [`${e2e}/httpd:2.4.39-4`],
      layers: ['busybox', 'httpd'],
      config: { Env, Cmd: ['httpd', '-D', 'FOREGROUND'] },
    },
    {
      names: [`${e2e}/nonewprivs:1.3`],
      layers: ['busybox', 'nonewprivs'],
      config: { Env, Cmd: ['/nnp', '--format=Effective uid: %u', '/proc/self/'] },
    },
    // One digest under two hosts.
    {
      names: ['registry.k8s.io/pause:3.9', 'k8s.gcr.io/pause:3.9'],
      layers: ['pause'],
      config: { Env, Entrypoint: ['/pause', '-P'] },
    },
    small('test-image-latest', ['latest']),
    small('test-image-tag', ['test']),
    small('test-image-tag', ['all']),
    ...['1', '2', '3'].map((n) => small(`test-image-${n}`, ['latest'])),
    small('test-image-tags', ['1', '2', '3']),
    small('test-image-user-uid', ['latest'], '1002'),
    small('test-image-user-username', ['latest'], 'www-data'),
    small('test-image-user-uid-group', ['latest'], '1003:1004'),
    small('test-image-user-username-group', ['latest'], 'www-data:1004'),
    {
      names: [`${staging}/test-image-predefined-group:latest`],
      layers: ['busybox', 'predefined group'],
      config: { ...sh, User: '1000' },
    },
  ];
}

const nginxConf = (port: number) => `worker_processes 1;
user www-data;
pid /var/run/nginx.pid;
events { worker_connections 64; }
http {
  access_log /dev/stdout;
  server { listen ${port}; location / { root /srv/www; } }
}
`;
const httpdConf = `ServerName httpd
ServerRoot /etc/apache2
User www-data
Group www-data
Listen 80
PidFile /var/run/httpd.pid
ErrorLog /proc/self/fd/2
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
DocumentRoot /srv/www
`;

const text = (path: string, content: string): Entry => file(path, bytesContent(content), 'test');
const page = text('srv/www/index.html', '<html><body>It works</body></html>\n');

/** The entries of a layer, by its name; parents are added. */
async function layerEntries(name: string, packages: Packages): Promise<readonly Entry[]> {
  const program = async (wanted: string, path: string, exclude: readonly string[] = []) =>
    runnable(await packages.tree({ packages: [wanted], exclude }), [path]);
  switch (name) {
    case 'busybox':
      return [...(await busyboxTree(packages)).values()];
    case 'tools': // what Debian's busybox does not have of upstream's
      return [
        ...(await program('procps', 'usr/bin/pgrep', ['init-system-helpers'])),
        ...(await program('util-linux', 'usr/bin/ipcs')),
      ];
    case 'nginx':
      return [
        ...(await program('nginx', 'usr/sbin/nginx', ['nginx-common', 'iproute2'])),
        ...['var/lib/nginx', 'var/log/nginx'].map((path) => directory(path, 'test')),
        page,
      ];
    case 'httpd': {
      const tree = await packages.tree({ packages: ['apache2-bin'], exclude: ['perl'] });
      const modules = ['mpm_event', 'authz_core', 'dir'].map((module) => `usr/lib/apache2/modules/mod_${module}.so`);
      // glibc opens it when a thread ends.
      const unwinder = [...tree.values()].find(({ path }) => path.endsWith('/libgcc_s.so.1'))!.path;
      return [
        ...(await runnable(tree, ['usr/sbin/apache2', ...modules, unwinder])),
        symlink('usr/local/bin/httpd', '/usr/sbin/apache2', 'test'),
        text('etc/apache2/apache2.conf', httpdConf),
        page,
      ];
    }
    // A setuid program that prints its effective user: the folder of a process in /proc belongs to it (proc(5)).
    case 'nonewprivs':
      return (await program('coreutils', 'usr/bin/stat')).map((entry) =>
        entry.path === 'usr/bin/stat' ? { ...entry, path: 'nnp', mode: 0o4755 } : entry,
      );
    case 'pause': // podman's own pause program, static
      return (await program('catatonit', 'usr/bin/catatonit')).map((entry) => ({ ...entry, path: 'pause' }));
    case 'predefined group':
      return accountFiles(['default-user:1000:1000'], ['group-defined-in-image:x:50000:default-user']);
    case 'port 80':
    case 'port 12003':
      return [text('etc/nginx/nginx.conf', nginxConf(Number(name.slice(5))))];
    default:
      return [text('mark', `${name}\n`)];
  }
}

type Layer = ImageInput['layers'][number];

async function makeLayer(name: string, packages: Packages): Promise<Layer> {
  const tree = new Tree();
  for (const entry of await layerEntries(name, packages)) tree.add(entry);
  tree.addMissingParents('test');
  const { store } = packages;
  const entries = [...tree.values()].sort((a, b) => comparePaths(a.path, b.path));
  const { diffId, descriptor } = await buildLayer(
    { name, entries },
    {
      store,
      mtime: 0,
      reporter: silent,
      signal: undefined,
      noCache: false,
      compression: { kind: 'gzip' },
      title: name,
    },
  );
  return { diffId, descriptor, history: { createdBy: name } };
}

export interface CriImages {
  /** The registry, `127.0.0.1:PORT`. */
  readonly host: string;
  readonly skip?: undefined;
  /** Every name and the digest that it stands for. */
  readonly images: ReadonlyMap<string, string>;
  stop(): Promise<void>;
}

/** Makes the images and serves them until stopped. A second time costs little: layers stay in the test cache. */
export async function serveCriImages(options: { port?: number } = {}): Promise<CriImages | { skip: string }> {
  const registry = await startRegistry(options);
  if (registry.skip !== undefined) return registry;
  try {
    return { host: registry.host, images: await fill(registry, await openPackages()), stop: () => registry.stop() };
  } catch (error) {
    await registry.stop();
    throw error;
  }
}

async function fill(registry: Registry, packages: Packages): Promise<Map<string, string>> {
  const { store, transport } = packages;
  const layers = new Map<string, Promise<Layer>>();
  const layer = (name: string): Promise<Layer> => {
    if (!layers.has(name)) layers.set(name, makeLayer(name, packages));
    return layers.get(name)!;
  };
  const images = new Map<string, string>();
  for (const image of testImages()) {
    const made = await Promise.all(image.layers.map(layer));
    const platform = hostPlatform();
    const { manifest } = await buildImage(store, { platform, layers: made, config: image.config, created: 0 });
    const root = await buildIndex(store, [manifest]);
    const references = image.names.map((name) => parseReference(name.replace(/^[^/]+/, registry.host)));
    await pushImage({ image: storeImage(store, root), references, transport, reporter: silent, store });
    for (const name of image.names) images.set(name, root.digest);
  }
  return images;
}

if (import.meta.main) {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { port: { type: 'string' } } });
  if (positionals.join(' ') !== 'serve') {
    console.error('Usage: node test/support/cri-images.ts serve [--port N]');
    process.exit(2);
  }
  const served = await serveCriImages(values.port === undefined ? {} : { port: Number(values.port) });
  if (served.skip !== undefined) process.exit(1);
  for (const [name, digest] of served.images) console.log(`${name} ${digest}`);
  console.log(`registry of ${mirroredHosts.join(', ')}: http://${served.host}`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void served.stop());
}
