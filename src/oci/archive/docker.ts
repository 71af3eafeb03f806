/** What `docker save` writes: configs and layers under `manifest.json`. It has no manifests, so kina makes them. */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { canonicalJson } from '../../host/json.ts';
import { type Descriptor, type Digest, mediaType, parseConfig } from '../descriptor.ts';
import type { Image } from '../image/image.ts';
import type { ArchiveFiles } from './files.ts';

const schema = z
  .array(z.looseObject({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }))
  .max(1_000);

/** Undefined without a `manifest.json`. Throws `archive` when a file that it names is missing. */
export async function dockerImages(files: ArchiveFiles): Promise<Image[] | undefined> {
  const entries = await dockerEntries(files);
  if (!entries) return undefined;
  const images = new Map<Digest, Image>();
  for (const { config, configName, names, layers: layerNames } of entries) {
    const parsed = parseConfig(await files.document(config), `${files.title}: ${configName}`);
    const diffIds = parsed.rootfs.diff_ids ?? [];
    const layers: Descriptor[] = [];
    for (const [i, name] of layerNames.entries()) layers.push(await dockerLayer(files, name, diffIds[i]));
    const manifest = { schemaVersion: 2, mediaType: mediaType.manifest, config, layers };
    const root = { mediaType: mediaType.manifest, ...files.add(canonicalJson(manifest)) };
    images.set(root.digest, files.image(root, [...(images.get(root.digest)?.names ?? []), ...names]));
  }
  return [...images.values()];
}

/** The entries of `manifest.json`, configs as descriptors. */
export async function dockerEntries(files: ArchiveFiles) {
  const bytes = await files.read('manifest.json');
  if (!bytes) return undefined;
  const parsed = schema.safeParse(parseJson(bytes));
  if (!parsed.success)
    throw new KinaError('archive', `${files.title}: manifest.json does not have the form that docker writes`);
  const entries = [];
  for (const { Config, RepoTags, Layers } of parsed.data)
    entries.push({
      config: { mediaType: mediaType.config, ...(await member(files, Config)) },
      configName: Config,
      names: RepoTags ?? [],
      layers: Layers,
    });
  return entries;
}

/** `docker save` writes plain tars, other tools compress; `manifest.json` does not say which. */
async function dockerLayer(files: ArchiveFiles, name: string, diffId: Digest | undefined): Promise<Descriptor> {
  const layer = await member(files, name, diffId);
  const compression = await files.compression(layer.digest);
  if (compression === 'xz')
    throw new KinaError('archive', `${files.title}: layer ${name} is compressed with xz, which containerd cannot read`);
  const type = { none: mediaType.layer, gzip: mediaType.layerGzip, zstd: mediaType.layerZstd }[compression];
  return { mediaType: type, ...layer };
}

async function member(files: ArchiveFiles, name: string, claimed?: Digest) {
  const found = await files.identify(name, claimed);
  if (found) return found;
  throw new KinaError('archive', `${files.title}: manifest.json names ${name}, which is not in the archive`, {
    hint: 'The archive is incomplete. Save or download it again.',
  });
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
