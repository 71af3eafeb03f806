/**
 * Images of Kubernetes' control plane made of one binary each, as the release's image archives have them: the binary in
 * `/usr/local/bin` (build/server-image of the tree), under the name that clusters ask for. The static ones need nothing
 * else, as upstream's own base for them, a runner without a shell, shows. kube-proxy calls iptables and stands on the base
 * image that the tree names.
 */
import { type Artifact, localArtifact } from '../../artifacts/artifact.ts';
import { KinaError } from '../../host/errors.ts';
import {
  type Descriptor,
  type Digest,
  maxConfigBytes,
  maxManifestBytes,
  mediaType,
  parseConfig,
  parseManifest,
} from '../../oci/descriptor.ts';
import { buildImage } from '../../oci/image/build.ts';
import { imageArchive } from '../../oci/output/preload.ts';
import { type Architecture, platformOf } from '../../oci/platform.ts';
import { resolveImage } from '../../oci/registry/resolve.ts';
import type { Store } from '../../oci/store/store.ts';
import { type Entry, readContent, sliceContent } from '../../tree/entry.ts';
import { writeTar } from '../../tree/tar-write.ts';
import { directory, file } from '../../tree/tree.ts';
import { defaultEpoch } from './compile.ts';
import type { SourceContext } from './model.ts';

interface BinaryImage {
  /** `kube-apiserver` */
  readonly name: string;
  /** The binary, in the store. */
  readonly binary: Artifact;
  /** In full, with a tag. */
  readonly reference: string;
  /** The layers below, lowest first, in the store. */
  readonly base: readonly BaseLayer[];
  readonly architecture: Architecture;
}

export interface BaseLayer {
  /** The image in a registry that it comes from. */
  readonly from: string;
  readonly diffId: Digest;
  readonly descriptor: Descriptor;
}

/** Writes the image archive into the store, as the artifact `NAME.tar`. */
export async function binaryImage(image: BinaryImage, store: Store): Promise<Artifact> {
  const { name, binary, reference, architecture } = image;
  const platform = platformOf(architecture);
  const content = sliceContent(store.blobPath(binary.digest), 0, binary.size, binary.digest);
  const entries: Entry[] = [
    // Nothing else brings one without a base image.
    ...(image.base.length === 0 ? [directory('tmp', name, 0o1777)] : []),
    ...['usr', 'usr/local', 'usr/local/bin'].map((path) => directory(path, name)),
    file(`usr/local/bin/${name}`, content, name, 0o755),
  ];
  const written = await store.write(writeTar(entries, { mtime: defaultEpoch }));
  const own: Descriptor = { mediaType: mediaType.layer, digest: written.digest, size: written.size };
  const { manifest } = await buildImage(store, {
    platform,
    created: defaultEpoch,
    config: {
      Entrypoint: [`/usr/local/bin/${name}`],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    },
    layers: [
      ...image.base.map(({ from, diffId, descriptor }) => ({ diffId, descriptor, history: { createdBy: from } })),
      { diffId: own.digest, descriptor: own, history: { createdBy: `kina: ${name}` } },
    ],
  });
  const archive = await imageArchive(store, [{ name: reference, manifest }]);
  const path = `${name}.tar`;
  return localArtifact({ name: path, path, version: binary.version }, await store.write(readContent(archive)));
}

/** Throws what a registry makes it throw. */
export async function fetchBase(
  reference: string,
  architecture: Architecture,
  { fetcher, store, transport, signal }: SourceContext,
): Promise<BaseLayer[]> {
  const image = await resolveImage(reference, platformOf(architecture), transport, { signal });
  await fetcher.fetchAll([image.manifest, image.config, ...image.layers]);
  const { layers } = parseManifest(await store.readBytes(image.manifest.digest, maxManifestBytes), reference);
  const { rootfs } = parseConfig(await store.readBytes(image.config.digest, maxConfigBytes), reference);
  return layers.map((descriptor, i) => {
    const diffId = rootfs.diff_ids?.[i];
    if (diffId === undefined) throw new KinaError('archive', `${reference}: its config lists fewer layers than it has`);
    return { from: reference, diffId, descriptor };
  });
}
