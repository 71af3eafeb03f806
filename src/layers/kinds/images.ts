/**
 * `images`: container images that a node has before it reaches any registry. They go into the node image as one OCI
 * archive per step, outside `/var`, and a unit imports them before kubelet starts: containerd's own database cannot be
 * written without running containerd, and a runtime that mounts an empty `/var` would lose it.
 *
 * One of them may be made by a recipe, for the same platform and with the same stores: what a node runs that no
 * registry has to be asked for.
 */
import { stat } from 'node:fs/promises';
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { openArchive } from '../../oci/archive/open.ts';
import { type Descriptor, hexOf, maxManifestBytes, mediaType, parseManifest } from '../../oci/descriptor.ts';
import { imagesFor, type PlatformImage } from '../../oci/image/contents.ts';
import { imageArchive, type NamedManifest } from '../../oci/output/preload.ts';
import { resolveImage } from '../../oci/registry/resolve.ts';
import { hasImage, keepImage } from '../../oci/store/keep.ts';
import { type Content, readContent } from '../../tree/entry.ts';
import { Tree } from '../../tree/tree.ts';
import { defineKind } from '../kind.ts';
import { importLocal } from '../kubernetes/local-file.ts';
import { memberContents } from '../kubernetes/members.ts';
import { localPath } from '../local.ts';
import { type ImagePin, noPins, type Pins, pinnedArtifacts, type ResolveContext, type TreeContext } from '../step.ts';
import { compressorName, compressPreloads } from './compress-preload.ts';
import { nonEmptyPath } from './schema.ts';

const schema = z
  .strictObject({
    /** The path of the archive in the image. */
    path: nonEmptyPath,
    /** Images of the Kubernetes source, by component: kube-apiserver … */
    release: z.array(z.string()).min(1).optional(),
    /** Images of a registry: the name they get, and where they come from when that differs. */
    images: z
      .array(z.strictObject({ name: z.string(), from: z.string().optional() }))
      .min(1)
      .optional(),
    /** Image archives or OCI layouts beside the recipe; every image in them for the platform, under its own name. */
    archives: z.array(z.string()).min(1).optional(),
    /** Another recipe, by name or by a path relative to this one, whose image is built and preloaded. `name` names the image. */
    recipe: z.string().optional(),
    /** Values of that recipe's variables. */
    set: z.record(z.string(), z.string()).optional(),
    /** The full reference that pods ask for, with a host and a tag. */
    name: z
      .string()
      .regex(/^[^/\s]*([.:]|localhost)[^/\s]*\/[^\s@]+:[\w.-]+$/, 'expected HOST/NAME:TAG')
      .optional(),
    /** Of uncompressed layers, as release, archives and recipe have them; a registry's are compressed. */
    compression: z.enum(['none', 'zstd']).optional(),
  })
  .refine((s) => s.images === undefined || s.compression === undefined, 'images of a registry are compressed already')
  .refine(
    (s) => [s.release, s.images, s.archives, s.recipe].filter((v) => v !== undefined).length === 1,
    'give exactly one of release, images, archives, recipe',
  )
  .refine((s) => (s.recipe === undefined) === (s.name === undefined), 'recipe and name belong together')
  .refine((s) => s.recipe !== undefined || s.set === undefined, 'set is for the variables of recipe');
type ImagesStep = z.infer<typeof schema>;

export const imagesKind = defineKind({
  name: 'images',
  version: 1,
  schema,
  summary: 'container images to preload: of the release, of a registry, from local archives, or made by a recipe',

  inner: ({ recipe, set }) => (recipe === undefined ? undefined : { recipe, set: set ?? {} }),

  async resolve(step, context) {
    return { pins: await pinImages(step, context) };
  },

  async tree(step, pins, context) {
    const tree = new Tree();
    const { release, archives } = step;
    const images = release
      ? await imported({ release }, pins, context, () => releaseImages(release, pins, context))
      : archives
        ? await imported({ archives }, pins, context, () => archiveImages(pins, context))
        : step.name !== undefined
          ? [await recipeImage(step.name, context)]
          : await registryImages(pins, context);
    if (images.length > 0) {
      const carried =
        step.compression === 'zstd' ? await compressPreloads(images, pins.inputs.compressor, context) : images;
      const { size, segments, key } = await imageArchive(context.store, carried);
      tree.add({
        type: 'file',
        path: step.path,
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: context.owner,
        content: { size, segments, key },
      });
    }
    return { tree };
  },
});

async function pinImages(step: ImagesStep, context: ResolveContext): Promise<Pins> {
  const { platform, kubernetes, recipeFolder, store } = context;
  const inputs: Record<string, string> = step.compression === 'zstd' ? { compressor: compressorName } : {};
  if (step.release) {
    if (!kubernetes) throw new KinaError('usage', 'images: release needs a Kubernetes source');
    const members = step.release.map((component) => ({ component, form: 'image' as const }));
    return { ...noPins, inputs, artifacts: await kubernetes.pin(members, platform.architecture) };
  }
  if (step.archives) {
    const copies = step.archives.map((a) => importLocal(localPath(recipeFolder, a), a, undefined, store));
    return { ...noPins, inputs, artifacts: await Promise.all(copies) };
  }
  if (step.recipe !== undefined) return { ...noPins, inputs };
  const pins = await Promise.all((step.images ?? []).map((image) => pinRegistryImage(image, context)));
  return { ...noPins, images: pins.flatMap((p) => p.images), absent: pins.flatMap((p) => p.absent) };
}

async function pinRegistryImage(
  { name, from }: { name: string; from?: string | undefined },
  { platform, transport, signal, common }: ResolveContext,
): Promise<Pins> {
  try {
    const image = await resolveImage(from ?? name, platform, transport, { signal });
    const pin: ImagePin = {
      name,
      manifest: { ...image.manifest, type: 'manifest' },
      config: { ...image.config, type: 'config' },
      layers: image.layers.map((layer) => ({ ...layer, type: 'layer' })),
    };
    return { ...noPins, images: [pin] };
  } catch (error) {
    if (common.optional && error instanceof KinaError && error.code === 'not-found')
      return { ...noPins, absent: [common.component ?? name] };
    throw error;
  }
}

/**
 * Archives are read and hashed once: 300 MB for a release, which a rebuild of another layer does not need. A remembered
 * result is used while the store has every blob of it.
 */
async function imported(
  what: object,
  { artifacts }: Pins,
  { store, platform }: TreeContext,
  read: () => Promise<NamedManifest[]>,
): Promise<NamedManifest[]> {
  const key = hexOf(digestOf({ imported: 1, what, platform, artifacts: artifacts.map(({ digest }) => digest) }));
  const known = await store.getRecord<NamedManifest[]>('imported', key);
  if (known && (await Promise.all(known.map(({ manifest }) => hasImage(store, manifest)))).every(Boolean)) return known;
  const images = await read();
  await store.putRecord('imported', key, images);
  return images;
}

/** Release archives name images per architecture (`…/kube-proxy-arm64:v1.20.2`); clusters ask for the plain name. */
async function releaseImages(names: readonly string[], pins: Pins, context: TreeContext): Promise<NamedManifest[]> {
  const contents = await memberContents(
    names.map((n) => `${n}.tar`),
    pins,
    context,
  );
  const images: NamedManifest[] = [];
  for (const [i, name] of names.entries()) {
    const content = contents[i]!;
    // A member of a server tarball is part of a pack file; an archive must be a file by itself.
    const path =
      (await wholeFile(content)) ?? context.store.blobPath((await context.store.write(readContent(content))).digest);
    for (const image of await imagesIn(path, `the image ${name}`, context))
      images.push({ ...image, name: image.name.replace(`-${context.platform.architecture}:`, ':') });
  }
  return images;
}

/** The file, if it contains these bytes only; the first member of a pack file also begins at offset 0. */
async function wholeFile({ segments, size }: Content): Promise<string | undefined> {
  const [only, ...others] = segments;
  if (only === undefined || others.length > 0 || !('file' in only) || only.offset !== 0) return undefined;
  return (await stat(only.file)).size === size ? only.file : undefined;
}

async function archiveImages(pins: Pins, context: TreeContext): Promise<NamedManifest[]> {
  const images: NamedManifest[] = [];
  for (const artifact of pins.artifacts)
    images.push(...(await imagesIn((await context.fetcher.fetch(artifact)).path, artifact.name, context)));
  return images;
}

/** Stores all images of an archive for this platform, under each of their names. */
async function imagesIn(path: string, title: string, { store, platform }: TreeContext): Promise<NamedManifest[]> {
  const named: NamedManifest[] = [];
  const images = (await openArchive(store, path)).map((image) => ({ ...image, title }));
  for (const image of await imagesFor(images, platform)) {
    if (image.names.length === 0)
      throw new KinaError('recipe', `${title} contains an image without a name`, {
        hint: 'Save it by name (podman save -o FILE NAME:TAG), so that a pod can ask for it.',
      });
    const { contents } = await keepImage(store, image, [platform]);
    const [one] = contents.platforms as [PlatformImage];
    for (const name of image.names) named.push({ name, manifest: withPlatform(one.descriptor, platform) });
  }
  return named;
}

async function recipeImage(name: string, context: TreeContext): Promise<NamedManifest> {
  return { name, manifest: withPlatform(await context.innerImage(), context.platform) };
}

async function registryImages(pins: Pins, { fetcher, store, platform }: TreeContext): Promise<NamedManifest[]> {
  await fetcher.fetchAll(pinnedArtifacts(pins));
  return Promise.all(
    pins.images.map(async ({ name, manifest: { digest, size } }): Promise<NamedManifest> => {
      const manifest = parseManifest(await store.readBytes(digest, maxManifestBytes), name);
      return {
        name,
        manifest: withPlatform({ mediaType: manifest.mediaType ?? mediaType.manifest, digest, size }, platform),
      };
    }),
  );
}

function withPlatform({ mediaType: type, digest, size }: Descriptor, platform: TreeContext['platform']): Descriptor {
  const { os, architecture } = platform;
  return { mediaType: type, digest, size, platform: { os, architecture } };
}
