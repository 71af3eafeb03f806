/**
 * `from`: the files of an image in a registry, or in an OCI layout or image archive beside the recipe. Its layers are applied
 * in order, with whiteouts, to one tree. A lock pins the manifest and every layer.
 */
import { z } from 'zod';
import type { Artifact } from '../../artifacts/artifact.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { openArchive } from '../../oci/archive/open.ts';
import { imagesFor, type PlatformImage } from '../../oci/image/contents.ts';
import { resolveImage } from '../../oci/registry/resolve.ts';
import { keepImage } from '../../oci/store/keep.ts';
import { Tree } from '../../tree/tree.ts';
import { applyLayer } from '../../tree/whiteouts.ts';
import { defineKind } from '../kind.ts';
import { localPath } from '../local.ts';
import { noPins, type Pins, type ResolveContext } from '../step.ts';

const schema = z
  .strictObject({
    /** An OCI layout or image archive beside the recipe. */
    source: z.string().optional(),
    /** A reference to a registry. */
    image: z.string().optional(),
  })
  .refine((s) => (s.source === undefined) !== (s.image === undefined), 'give exactly one of source, image');

export const fromKind = defineKind({
  name: 'from',
  // 2: layers in the order of the image, also where a lock lists ten or more.
  version: 2,
  schema,
  isBase: true,
  summary: 'the files of an image: of a registry, an OCI layout or an image archive',

  async resolve(step, context) {
    if (step.image !== undefined) {
      const { platform, transport, signal } = context;
      const image = await resolveImage(step.image, platform, transport, { signal });
      const layers = image.layers.map((layer): Artifact => ({ ...layer, type: 'layer' }));
      return { pins: { ...noPins, base: { name: image.reference, manifest: image.manifest.digest, layers } } };
    }
    return { pins: await fromFile(step.source as string, context) };
  },

  async tree(_step, pins, context) {
    const tree = new Tree();
    for (const artifact of pins.base?.layers ?? []) {
      const { path } = await context.fetcher.fetch(artifact);
      const entries = await context.unpacker.unpack(digestOf([artifact.digest, 'layer']).slice(7), {
        owner: context.owner,
        file: path,
      });
      applyLayer(tree, entries);
    }
    return { tree };
  },
});

async function fromFile(source: string, { recipeFolder, store, platform }: ResolveContext): Promise<Pins> {
  const all = await openArchive(store, localPath(recipeFolder, source));
  const images = await imagesFor(
    all.map((image) => ({ ...image, title: source })),
    platform,
  );
  const [image, ...others] = images;
  if (!image || others.length > 0)
    throw new KinaError('recipe', `${source} contains several images`, {
      details: images.map(({ names }) => names.join(', ')),
      hint: 'Save the one you want alone.',
    });
  const { contents } = await keepImage(store, image, [platform]);
  const { descriptor, manifest } = contents.platforms[0] as PlatformImage;
  return {
    ...noPins,
    base: {
      name: source,
      manifest: descriptor.digest,
      layers: manifest.layers.map(({ digest, size }, i) => ({
        type: 'local',
        name: `${source} layer ${i + 1}`,
        url: `local:${source}#${digest}`,
        size,
        digest,
        verifiedBy: 'local file',
      })),
    },
  };
}
