/** A node image's files in a folder: the layers of one platform, one over the other, unpacked by bsdtar and not by kina. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Architecture } from '../../src/oci/platform.ts';
import { check } from './command.ts';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly platform?: { readonly architecture: string };
}

export interface ImageConfig {
  readonly architecture: string;
  readonly config: {
    readonly Entrypoint?: readonly string[];
    readonly Env?: readonly string[];
    readonly Labels?: Readonly<Record<string, string>>;
  };
}

export interface UnpackedImage {
  readonly config: ImageConfig;
  /** Digest of the platform's manifest. */
  readonly digest: string;
  /** Layer blobs, lowest first. */
  readonly layers: readonly string[];
}

/** Opens an OCI archive (or layout folder) and finds one platform in it; `folder` takes the unpacked archive. */
export async function openImage(archive: string, architecture: Architecture, folder: string): Promise<UnpackedImage> {
  let layout = archive;
  if (!(await isLayout(archive))) {
    layout = folder;
    await mkdir(layout, { recursive: true });
    await check(['bsdtar', '-xf', archive, '-C', layout]);
  }
  const blob = (digest: string) => join(layout, 'blobs', ...digest.split(':'));
  const json = async (path: string) => JSON.parse(await readFile(path, 'utf8'));
  const manifests: { descriptor: Descriptor; architecture: string }[] = [];
  const walk = async (index: { manifests: readonly Descriptor[] }) => {
    for (const descriptor of index.manifests) {
      const document = await json(blob(descriptor.digest));
      if (document.manifests) await walk(document);
      else manifests.push({ descriptor, architecture: (await json(blob(document.config.digest))).architecture });
    }
  };
  await walk(await json(join(layout, 'index.json')));
  const found = manifests.find((one) => one.architecture === architecture);
  if (!found)
    throw new Error(`${archive} has no ${architecture}, only ${manifests.map((one) => one.architecture).join(', ')}`);
  const manifest = await json(blob(found.descriptor.digest));
  return {
    config: await json(blob(manifest.config.digest)),
    digest: found.descriptor.digest,
    layers: manifest.layers.map((layer: Descriptor) => blob(layer.digest)),
  };
}

async function isLayout(path: string): Promise<boolean> {
  return (await readdir(path).catch(() => [] as string[])).includes('oci-layout');
}

/** Unpacks layers in order, whiteouts applied, into `root`. */
const unpackScript = String.raw`
set -eu
root=$1
shift
mkdir -p "$root"
for layer; do
  bsdtar -tf "$layer" | sed -n 's,^\(.*/\)\{0\,1\}\.wh\.\([^/]*\)$,\1\2,p' | while read -r path; do
    rm -rf "$root/$path"
  done
  bsdtar -xpf "$layer" -C "$root" --numeric-owner --exclude '.wh.*' --exclude '*/.wh.*'
done
`;

/** The image's files in a folder; with the image's owners only when the tests run as root. */
export async function unpackRoot(image: UnpackedImage, root: string): Promise<void> {
  // bsdtar refuses names that the locale cannot write, and certificates have such names
  await check(['sh', '-c', unpackScript, 'sh', root, ...image.layers], { env: { LC_ALL: 'C.UTF-8' } });
}
