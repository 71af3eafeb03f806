/**
 * `from`: the files of an image (an OCI layout or an image archive beside the recipe) as the ground of this layer: its
 * layers laid over each other, whiteouts applied, as one tree.
 */
import { z } from 'zod';
import { LOCAL } from '../../artifacts/artifact.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { importArchive } from '../../oci/import.ts';
import { Tree } from '../../tree/tree.ts';
import { applyLayer } from '../../tree/whiteouts.ts';
import { localPath } from '../local.ts';
import { noPins, type PlainKind } from '../step.ts';

const schema = z.strictObject({ source: z.string() });

export const fromKind: PlainKind<z.infer<typeof schema>> = {
  name: 'from',
  version: 1,
  schema,
  summary: 'the files of an OCI layout or image archive',

  async resolve(step, context) {
    const path = localPath(context.recipeFolder, step.source);
    const images = await importArchive(context.store, path);
    const own = images.filter((i) => i.platform.architecture === context.platform.architecture);
    const [image] = own;
    if (!image)
      throw new KinaError('platform', `${step.source} has no image for linux/${context.platform.architecture}`, {
        details: images.map((i) => `it has ${i.platform.os}/${i.platform.architecture}`),
      });
    if (new Set(own.map((i) => i.manifest.digest)).size > 1)
      throw new KinaError('recipe', `${step.source} holds several images`, {
        details: own.map((i) => i.names.join(', ')),
        hint: 'Save the one you want on its own.',
      });
    return {
      ...noPins,
      inputs: { manifest: image.manifest.digest },
      artifacts: image.layers.map((layer, i) => ({
        name: `${step.source} layer ${i + 1}`,
        url: `${LOCAL}${step.source}#${layer.digest}`,
        size: layer.size,
        digest: layer.digest,
        verifiedBy: 'local file',
      })),
    };
  },

  async tree(_step, pins, context) {
    const tree = new Tree();
    for (const artifact of pins.artifacts) {
      const { path } = await context.fetch(artifact);
      const entries = await context.unpacker.unpack(digestOf([artifact.digest, 'layer']).slice(7), {
        owner: context.owner,
        file: path,
      });
      applyLayer(tree, entries);
    }
    return { tree };
  },
};
