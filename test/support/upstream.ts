/**
 * A synthetic upstream: answers for every Kubernetes version what the real servers would, with small made-up content in
 * the real formats (ELF headers, docker-save archives, tar.gz, registry manifests), so that every row of the version
 * table can be built. Speaks HTTP on loopback; kina reaches it with `--mirror`.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

export interface Upstream {
  readonly url: string;
  /** Every path that was asked for, in order. */
  readonly requests: string[];
  /** Marker files by path below dl.k8s.io, e.g. `ci/latest.txt`, and the versions in them. */
  readonly markers: Map<string, string>;
  /** Answers instead of the content, e.g. to lose or damage a file. */
  intercept: ((path: string, response: ServerResponse) => boolean) | undefined;
  stop(): Promise<void>;
}

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');
const machines: Readonly<Record<string, number>> = { amd64: 62, arm64: 183 };

/** An ELF64 file that is only a header (System V ABI, chapter 4), then a name so that every file differs. */
export function fakeElf(architecture: string, name: string): Buffer {
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(machines[architecture] ?? 0, 18);
  header.writeUInt32LE(1, 20);
  header.writeUInt16LE(64, 52);
  return Buffer.concat([header, Buffer.from(`${name}\n`)]);
}

async function tar(files: Readonly<Record<string, Buffer | string>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, data] of Object.entries(files))
    archive.entry({ name, mode: 0o755, mtime: new Date(0) }, Buffer.from(data));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** What `docker save` writes for an image of one layer. */
async function dockerArchive(architecture: string, name: string, tag: string): Promise<Buffer> {
  const layer = await tar({ [name]: fakeElf(architecture, `${name} ${tag}`) });
  const config = JSON.stringify({
    architecture,
    os: 'linux',
    config: { Entrypoint: [`/${name}`] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
  });
  return tar({
    'layer/layer.tar': layer,
    'config.json': config,
    'manifest.json': JSON.stringify([
      {
        Config: 'config.json',
        // A tag cannot hold the `+` of a CI build's version.
        RepoTags: [`registry.k8s.io/${name}-${architecture}:${tag.replace('+', '_')}`],
        Layers: ['layer/layer.tar'],
      },
    ]),
  });
}

/** A registry image: its documents by digest, the index's digest first. */
async function registryImage(name: string, tag: string): Promise<{ index: Buffer; blobs: Map<string, Buffer> }> {
  const blobs = new Map<string, Buffer>();
  const put = (data: Buffer): { digest: string; size: number } => {
    const digest = `sha256:${sha256(data)}`;
    blobs.set(digest, data);
    return { digest, size: data.length };
  };
  const manifests: unknown[] = [];
  for (const architecture of ['amd64', 'arm64']) {
    const layerTar = await tar({ [name.replaceAll('/', '-')]: fakeElf(architecture, `${name} ${tag}`) });
    const layer = put(gzipSync(layerTar));
    const config = put(
      Buffer.from(
        JSON.stringify({
          architecture,
          os: 'linux',
          config: {},
          rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layerTar)}`] },
        }),
      ),
    );
    const manifest = put(
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
          layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
        }),
      ),
    );
    manifests.push({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      ...manifest,
      platform: { os: 'linux', architecture },
    });
  }
  return {
    index: Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests }),
    ),
    blobs,
  };
}

export async function startUpstream(): Promise<Upstream> {
  const cache = new Map<string, Promise<Buffer | undefined>>();
  const blobs = new Map<string, Buffer>();

  const produce = async (path: string): Promise<Buffer | undefined> => {
    const checksum = /^(.*)\.sha256$/.exec(path);
    if (checksum && !path.includes('containerd')) {
      const file = await content(checksum[1]!);
      return (
        file &&
        Buffer.from(
          path.startsWith('/dl.k8s.io/') ? sha256(file) : `${sha256(file)}  ${checksum[1]!.split('/').at(-1)}\n`,
        )
      );
    }
    const release = /^\/dl\.k8s\.io\/(?:ci\/)?(v[^/]+)\/bin\/linux\/(amd64|arm64)\/([a-z-]+)(\.tar)?$/.exec(path);
    if (release)
      return release[4]
        ? dockerArchive(release[2]!, release[3]!, release[1]!)
        : fakeElf(release[2]!, `${release[3]} ${release[1]}`);
    const server = /^\/dl\.k8s\.io\/(?:ci\/)?(v[^/]+)\/kubernetes-server-linux-(amd64|arm64)\.tar\.gz$/.exec(path);
    if (server) return serverTarball(server[1]!, server[2]!);
    const containerd = /\/containerd-([0-9.]+)-linux-(amd64|arm64)\.tar\.gz(\.sha256sum)?$/.exec(path);
    if (containerd?.[3]) {
      const file = await content(path.replace(/\.sha256sum$/, ''));
      return file && Buffer.from(`${sha256(file)}  containerd-${containerd[1]}-linux-${containerd[2]}.tar.gz\n`);
    }
    if (containerd) {
      const files = ['containerd', 'containerd-shim-runc-v2', 'ctr', 'containerd-stress'];
      return gzipSync(
        await tar(Object.fromEntries(files.map((f) => [`bin/${f}`, fakeElf(containerd[2]!, `${f} ${containerd[1]}`)]))),
      );
    }
    const runc =
      /^\/github\.com\/opencontainers\/runc\/releases\/download\/v([^/]+)\/runc\.(amd64|arm64|sha256sum)$/.exec(path);
    if (runc?.[2] === 'sha256sum')
      return Buffer.from(
        ['amd64', 'arm64'].map((a) => `${sha256(fakeElf(a, `runc ${runc[1]}`))} *runc.${a}\n`).join(''),
      );
    if (runc) return fakeElf(runc[2]!, `runc ${runc[1]}`);
    const cni = /\/cni-plugins-linux-(amd64|arm64)-v([0-9.]+)\.tgz$/.exec(path);
    if (cni)
      return gzipSync(
        await tar(
          Object.fromEntries(
            ['bridge', 'host-local', 'loopback', 'portmap', 'ptp', 'vlan'].map((f) => [
              `./${f}`,
              fakeElf(cni[1]!, `${f} ${cni[2]}`),
            ]),
          ),
        ),
      );
    const crictl = /\/crictl-v([0-9.]+)-linux-(amd64|arm64)\.tar\.gz$/.exec(path);
    if (crictl) return gzipSync(await tar({ crictl: fakeElf(crictl[2]!, `crictl ${crictl[1]}`) }));
    const manifest = /^\/registry\.k8s\.io\/v2\/(.+)\/manifests\/([^/]+)$/.exec(path);
    if (manifest?.[2]?.startsWith('sha256:')) return blobs.get(manifest[2]!);
    if (manifest) {
      const image = await registryImage(manifest[1]!, manifest[2]!);
      for (const [digest, data] of image.blobs) blobs.set(digest, data);
      return image.index;
    }
    const blob = /^\/registry\.k8s\.io\/v2\/.+\/blobs\/(sha256:[0-9a-f]{64})$/.exec(path);
    return blob ? blobs.get(blob[1]!) : undefined;
  };
  const content = (path: string): Promise<Buffer | undefined> => {
    let known = cache.get(path);
    if (!known) {
      known = produce(path);
      cache.set(path, known);
    }
    return known;
  };

  const upstream: Upstream = {
    url: '',
    requests: [],
    markers: new Map(),
    intercept: undefined,
    stop: () => new Promise((resolve) => server.close(() => resolve()).closeAllConnections()),
  };
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const path = decodeURIComponent((request.url ?? '/').split('?')[0]!);
    upstream.requests.push(path);
    if (upstream.intercept?.(path, response)) return;
    const marker = upstream.markers.get(path.replace('/dl.k8s.io/', ''));
    // With a newline at the end here and there, as upstream's.
    (marker === undefined ? content(path) : Promise.resolve(Buffer.from(`${marker}\n`))).then(
      (data) => {
        if (!data) return void response.writeHead(404).end('not found\n');
        const type = path.includes('/manifests/')
          ? (JSON.parse(data.toString()) as { mediaType: string }).mediaType
          : 'application/octet-stream';
        response.writeHead(200, { 'content-length': data.length, 'content-type': type });
        response.end(request.method === 'HEAD' ? undefined : data);
      },
      (error) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(upstream, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/** A server tarball as upstream lays it out; `kubernetes/version` exists since 1.31. */
export async function serverTarball(version: string, architecture: string): Promise<Buffer> {
  const bin = 'kubernetes/server/bin';
  const files: Record<string, Buffer | string> = {};
  if (Number(version.split('.')[1]) >= 31) files['kubernetes/version'] = `${version}\n`;
  for (const name of ['kubeadm', 'kubelet', 'kubectl'])
    files[`${bin}/${name}`] = fakeElf(architecture, `${name} ${version}`);
  for (const name of ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy']) {
    files[`${bin}/${name}.tar`] = await dockerArchive(architecture, name, version);
    files[`${bin}/${name}.docker_tag`] = version;
  }
  return gzipSync(await tar(files));
}
