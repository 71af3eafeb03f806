/**
 * Where images to load come from. An archive is read where it lies, an image of kina's store too. What an engine has goes
 * through kina's store and is kept there for the next time: podman writes only what the store lacks (an image of 100 MB
 * took 1.3 s, after a change of 5 MB 0.2 s), docker hands out images whole. An image that the store or every node has is
 * not even saved.
 */
import { mkdir, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { KinaError } from '../../host/errors.ts';
import type { Digest } from '../../oci/descriptor.ts';
import { readContents } from '../../oci/image/contents.ts';
import { type ImportedImage, importArchive } from '../../oci/image/import.ts';
import { fromStore, type OpenImages, openImages, receiveImages } from '../../oci/image/open-images.ts';
import { findImage } from '../../oci/image/select.ts';
import type { VerifiedBlobs } from '../../oci/output/tar.ts';
import { formatReference, parseReference } from '../../oci/reference.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Provider } from '../../provider/provider.ts';
import type { NamedImage } from './plan.ts';

export interface LoadSource {
  /** For people: `archive app.tar`, `docker`. */
  readonly title: string;
  /** Names and image ids, where they are known before anything is read. */
  readonly known?: readonly { readonly names: readonly string[]; readonly config: string }[];
  /** Images and their blobs; of `known` ones only those with one of `names`. */
  open(names?: ReadonlySet<string>): Promise<VerifiedBlobs & { readonly images: readonly NamedImage[] }>;
}

/** The images of an archive or a layout folder. `open` throws `archive` when one of them has no name to go by. */
export function archiveSource(store: Store, path: string): LoadSource {
  return {
    title: basename(path),
    async open() {
      const source = await openImages(store, path);
      return { ...source, images: byName(source.images, path) };
    },
  };
}

/**
 * Finds each reference: in kina's store, else in the first engine that has it. Throws `usage` for what is no reference,
 * `not-found` that lists all that nobody has.
 */
export async function findSources(
  references: readonly string[],
  store: Store,
  engines: readonly Provider[],
): Promise<LoadSource[]> {
  const sources: LoadSource[] = [];
  const inEngine = new Map<Provider, Wanted[]>();
  const nowhere: string[] = [];
  const silent = new Map<Provider, string>();
  for (const reference of new Set(references)) {
    const name = formatReference(parseReference(reference));
    const stored = (await store.resolve(reference)) ? reference : (await store.resolve(name)) ? name : undefined;
    if (stored !== undefined) {
      sources.push(storeSource(store, stored, name));
      continue;
    }
    const held = await firstWith(engines, reference, silent);
    if (held) inEngine.set(held.engine, [...(inEngine.get(held.engine) ?? []), { reference, ...held }]);
    else nowhere.push(reference);
  }
  if (nowhere.length > 0)
    throw new KinaError('not-found', `nobody here has ${nowhere.join(', ')}`, {
      details: [
        `asked: ${["kina's store", ...engines.filter((one) => !silent.has(one)).map((one) => one.name)].join(', ')}`,
        ...[...silent].map(([engine, reason]) => `${engine.name} does not answer: ${reason}`),
      ],
      hint: 'Build or pull it first; `kina load image-archive` takes files.',
    });
  for (const [engine, wanted] of inEngine) sources.push(engineSource(store, engine, wanted));
  return sources;
}

interface Wanted {
  /** As the engine finds it. */
  readonly reference: string;
  readonly names: readonly string[];
  readonly config: string;
}

/** An engine that does not work has nothing; why goes into `silent`. */
async function firstWith(engines: readonly Provider[], reference: string, silent: Map<Provider, string>) {
  const name = formatReference(parseReference(reference));
  for (const engine of engines) {
    const image = await engine.image(reference).catch((error) => {
      if (!(error instanceof KinaError)) throw error;
      silent.set(engine, error.details[0] ?? error.message);
      return undefined;
    });
    if (!image) continue;
    // podman calls what it built `localhost/app:1` and finds it as `app:1`; a pod may use either name.
    const own = `localhost/${name.replace(/^docker\.io\/(library\/)?/, '')}`;
    return { engine, names: image.names.includes(own) ? [name, own] : [name], config: image.config };
  }
  return undefined;
}

function storeSource(store: Store, reference: string, name: string): LoadSource {
  return {
    title: "kina's store",
    async open() {
      const { platforms } = await readContents(store, await findImage(store, reference));
      const images = platforms.map(({ descriptor, manifest, config }) => ({
        names: [name],
        platform: descriptor.platform ?? config,
        manifest: descriptor,
        config: manifest.config,
        layers: manifest.layers,
        diffIds: (config.rootfs.diff_ids ?? []) as Digest[],
      }));
      return {
        verified: (digest, size) => store.verified(digest, size),
        images: [{ names: [name], platforms: images }],
      };
    },
  };
}

function engineSource(store: Store, engine: Provider, wanted: readonly Wanted[]): LoadSource {
  return {
    title: engine.name,
    known: wanted,
    async open(names) {
      const needed = names ? wanted.filter((one) => one.names.some((name) => names.has(name))) : wanted;
      const images: NamedImage[] = [];
      const unknown: Wanted[] = [];
      for (const one of needed) {
        const platforms = await recall(store, one.config);
        if (platforms) images.push({ names: one.names, platforms });
        else unknown.push(one);
      }
      if (unknown.length > 0) {
        const saved = await (engine.saveLayout ? throughLayout : throughArchive)(store, engine, unknown);
        for (const one of unknown) {
          const platforms = matching(saved.images, one);
          await store.putRecord(recordKind, one.config.replace(':', '-'), platforms);
          images.push({ names: one.names, platforms });
        }
      }
      return { verified: (digest, size) => store.verified(digest, size), images };
    },
  };
}

const recordKind = 'engine-image';

/** What an engine saved before under this image id, when the store still has all of it. */
async function recall(store: Store, id: string): Promise<ImportedImage[] | undefined> {
  const images = await store.getRecord<ImportedImage[]>(recordKind, id.replace(':', '-'));
  for (const { manifest, config, layers } of images ?? [])
    for (const { digest, size } of [manifest, config, ...layers])
      if (!(await store.has(digest, size))) return undefined;
  return images;
}

/** The engine writes into the store's own blobs what is not there yet; the store believes none of it unseen. */
async function throughLayout(store: Store, engine: Provider, wanted: readonly Wanted[]): Promise<OpenImages> {
  const folder = store.temporaryPath();
  try {
    await mkdir(folder);
    await symlink(join(store.root, 'blobs'), join(folder, 'blobs'));
    for (const { reference } of wanted) await engine.saveLayout!(reference, folder);
    return fromStore(store, await importArchive(store, folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function throughArchive(store: Store, engine: Provider, wanted: readonly Wanted[]): Promise<OpenImages> {
  const { stdout, finished } = engine.save(wanted.map(({ reference }) => reference));
  // When saving fails the archive is cut short as well; why is what people need to know.
  const source = await receiveImages(store, stdout, `what ${engine.name} saved`).catch(async (error) => {
    stdout.destroy();
    await finished;
    throw error;
  });
  await finished;
  return source;
}

/** By image id; docker with containerd's store has ids of another kind, but its archives have names. */
function matching(images: readonly ImportedImage[], { reference, names, config }: Wanted): ImportedImage[] {
  const same = images.filter((image) => image.config.digest === config);
  const named = images.filter((image) => image.names.some((name) => name === reference || names.includes(name)));
  if (same.length + named.length > 0) return same.length > 0 ? same : named;
  throw new KinaError('integrity', `${reference} is not in what the engine saved for it`, { hint: 'Try again.' });
}

/** One image per set of names, whatever platforms it has. */
function byName(images: readonly ImportedImage[], path: string): NamedImage[] {
  const found = new Map<string, { names: string[]; platforms: ImportedImage[] }>();
  for (const image of images) {
    const names = image.names.filter((name) => /[/:]/.test(name)).map((name) => formatReference(parseReference(name)));
    if (names.length === 0)
      throw new KinaError('archive', `an image in ${path} has no name that a pod could use`, {
        details: [image.manifest.digest, ...image.names],
        hint: 'Name it when saving: `docker save NAME`, `skopeo copy SOURCE oci-archive:FILE:NAME:TAG`.',
      });
    const key = names.join(' ');
    const entry = found.get(key) ?? { names, platforms: [] };
    entry.platforms.push(image);
    found.set(key, entry);
  }
  return [...found.values()];
}
