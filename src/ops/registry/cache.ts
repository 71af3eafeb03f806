/**
 * `--cache-from` and `--cache-to`: finished images of other machines, kept in any registry, no service of our own.
 *
 * An entry is an OCI artifact per platform of an image, tagged with the key that names everything that went in (lock,
 * recipe, compression, kina's version; see `imageKey`). Its config is a record that repeats the key and names manifest and
 * layers; its layers are those of the image, compressed with zstd where the image's are not, and image manifest and config.
 *
 * What an entry claims is checked before it is believed: its key, in the record itself, so that an entry cannot be moved to
 * another key; the manifest against the record, the config against the manifest, and what every layer unpacks to against
 * the config. So damage, mistakes and truncation are found. Whether the content is what the recipe would have made, only a
 * rebuild can tell: who may write to a cache is trusted like who may push the image.
 *
 * A cache that is down, or an entry that is refused, costs a warning and a build, never the build.
 */
import { z } from 'zod';
import type { BuiltPlatform, ImageCache } from '../../build/node-image.ts';
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { canonicalJson } from '../../host/json.ts';
import type { Toolbox } from '../../layers/toolbox.ts';
import { compressLayer, contentOf, uncompressedLayer } from '../../oci/compress.ts';
import {
  asDescriptor,
  type Descriptor,
  type Digest,
  isDigest,
  maxConfigBytes,
  maxManifestBytes,
  mediaType,
  parseConfig,
  parseManifest,
} from '../../oci/descriptor.ts';
import { pushImage } from '../../oci/push.ts';
import { resolveReference } from '../../oci/registry.ts';
import { formatReference, type ImageReference, parseReference, repositoryUrl } from '../../oci/registry-reference.ts';

const types = {
  artifact: 'application/vnd.kina.cache.image.v1',
  record: 'application/vnd.kina.cache.record.v1+json',
  // Not the types that they have in an image: registries look for those among manifests, not among blobs.
  manifest: 'application/vnd.kina.cache.manifest.v1+json',
  config: 'application/vnd.kina.cache.config.v1+json',
};
const keyAnnotation = 'dev.kina.cache.key';

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const descriptor = z.custom<Descriptor>((value) => asDescriptor(value) !== undefined);
const recordSchema = z.strictObject({
  key: z.string(),
  platform: z.string(),
  manifest: descriptor,
  components: z.record(z.string(), z.string()),
  absent: z.array(z.string()),
  layers: z.array(z.strictObject({ name: z.string(), diffId: digest, size: z.number().int().nonnegative() })),
});

/** The repository of a cache. Throws `usage` for a tag or digest: kina tags entries itself. */
export function cacheReference(flag: string, value: string): ImageReference {
  const parsed = parseReference(value);
  if (parsed.digest !== undefined || parsed.tag !== 'latest' || value.endsWith(':latest'))
    throw new KinaError('usage', `${flag} ${value}: a cache is a repository, without tag and digest`, {
      hint: 'Write HOST/NAME, e.g. ghcr.io/example/cache.',
    });
  return parsed;
}

/** `writing` is the transport for what is kept. */
export function registryCache(
  from: readonly ImageReference[],
  to: readonly ImageReference[],
  tools: Toolbox,
  writing: Transport,
): ImageCache {
  const { reporter, signal } = tools;
  const forgiving = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted || !(error instanceof KinaError) || !passing.has(error.code)) throw error;
      if (error.code !== 'not-found') reporter.warn(`${what}: ${error.message}`);
      return undefined;
    }
  };
  return {
    async find(key, platform) {
      for (const repository of from) {
        const name = formatReference({ ...repository, tag: undefined });
        const found = await forgiving(`the cache ${name} is not used`, () => read(repository, key, platform, tools));
        if (found) return found;
      }
      return undefined;
    },
    async keep(key, built) {
      for (const repository of to) {
        const name = formatReference({ ...repository, tag: undefined });
        await forgiving(`nothing is kept in the cache ${name}`, () => write(repository, key, built, tools, writing));
      }
    },
  };
}

/** What a cache may do wrong without an end to the build. `archive` and `integrity` are entries that are refused. */
const passing: ReadonlySet<string> = new Set(['network', 'not-found', 'offline', 'archive', 'integrity', 'platform']);

async function read(repository: ImageReference, key: string, platform: string, tools: Toolbox): Promise<BuiltPlatform> {
  const { store, transport, fetcher, signal } = tools;
  const where = formatReference({ ...repository, tag: tagOf(key) });
  const refuse = (problem: string) => new KinaError('integrity', `its entry ${tagOf(key)} is refused: ${problem}`);
  const top = await resolveReference(where, transport, signal);
  const entry = parseManifest(top.bytes, where);
  if (entry.annotations?.[keyAnnotation] !== key) throw refuse('it is for another key');
  const fetch = async (blobs: readonly Descriptor[]): Promise<void> => {
    await fetcher.fetchAll(
      blobs.map(({ digest: blob, size }) => ({
        name: `cached ${blob.slice(7, 19)}`,
        url: `${repositoryUrl(repository)}/blobs/${blob}`,
        size,
        digest: blob,
        verifiedBy: 'the cache',
      })),
    );
  };
  const [manifestBlob, configBlob, ...layers] = entry.layers;
  if (
    !manifestBlob ||
    !configBlob ||
    [entry.config, manifestBlob, configBlob].some(({ size }) => size > maxConfigBytes)
  )
    throw refuse('it is not complete');
  await fetch([entry.config, manifestBlob, configBlob]);
  const parsed = recordSchema.safeParse(parseJson(await store.readBytes(entry.config.digest, maxConfigBytes)));
  if (!parsed.success || parsed.data.key !== key || parsed.data.platform !== platform)
    throw refuse('its record is for something else');
  const record = parsed.data;
  const image = parseManifest(await store.readBytes(manifestBlob.digest, maxManifestBytes), where);
  const config = parseConfig(await store.readBytes(configBlob.digest, maxConfigBytes), where);
  const diffIds = config.rootfs.diff_ids ?? [];
  if (
    record.manifest.digest !== manifestBlob.digest ||
    image.config.digest !== configBlob.digest ||
    `${config.os}/${config.architecture}` !== platform ||
    [image.layers, layers, diffIds].some(({ length }) => length !== record.layers.length) ||
    record.layers.some(({ diffId }, i) => diffId !== diffIds[i])
  )
    throw refuse('its parts do not belong together');
  await fetch(layers);
  const built: BuiltPlatform['layers'][number][] = [];
  for (const [i, layer] of record.layers.entries()) {
    const carried = layers[i] as Descriptor;
    const wanted = image.layers[i] as Descriptor;
    // What the image has compressed is carried as it is; else the tar is made again.
    const isTar = wanted.digest === layer.diffId;
    if (!isTar && carried.digest !== wanted.digest) throw refuse(`${layer.name} is another layer`);
    const actual = await (isTar
      ? uncompressedLayer(store, carried, layer.diffId, layer.size)
      : contentOf(store, wanted, layer.size));
    if (actual.digest !== layer.diffId || actual.size !== layer.size) throw refuse(`${layer.name} has other content`);
    built.push({ ...layer, descriptor: wanted, cached: true, elapsed: 0 });
  }
  const { manifest, components, absent } = record;
  return { platform, manifest, components, absent, layers: built, cached: true };
}

async function write(
  repository: ImageReference,
  key: string,
  built: BuiltPlatform,
  tools: Toolbox,
  writing: Transport,
): Promise<void> {
  const { store, reporter, signal } = tools;
  const image = parseManifest(await store.readBytes(built.manifest.digest, maxManifestBytes), built.manifest.digest);
  const layers: Descriptor[] = [];
  for (const layer of image.layers)
    layers.push(layer.mediaType === mediaType.layer ? await compressLayer(store, layer, { kind: 'zstd' }) : layer);
  const { platform, manifest, components, absent } = built;
  const record = {
    ...{ key, platform, manifest, components, absent },
    layers: built.layers.map(({ name, diffId, size }) => ({ name, diffId, size })),
  };
  const config = { mediaType: types.record, ...(await store.writeBytes(canonicalJson(record))) };
  const document = {
    schemaVersion: 2,
    mediaType: mediaType.manifest,
    artifactType: types.artifact,
    config,
    layers: [
      { mediaType: types.manifest, digest: manifest.digest, size: manifest.size },
      { mediaType: types.config, digest: image.config.digest, size: image.config.size },
      ...layers.map(({ mediaType: type, digest: blob, size }) => ({ mediaType: type, digest: blob, size })),
    ],
    annotations: { [keyAnnotation]: key },
  };
  const root = { mediaType: mediaType.manifest, ...(await store.writeBytes(canonicalJson(document))) };
  const references = [{ ...repository, tag: tagOf(key) }];
  await pushImage({ source: store, root, references, transport: writing, reporter, store, signal });
}

function tagOf(key: string): string {
  return `kina-${key}`;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
