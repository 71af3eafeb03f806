/**
 * Where images to load come from. Archives and kina's store are read in place. An image of an engine goes through kina's
 * store and is kept there for the next time: podman writes only what the store lacks (an image of 100 MB took 1.3 s, after
 * a change of 5 MB 0.2 s), docker saves whole images. An image that the store or every node has is not saved at all.
 */
import { mkdir, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { KinaError } from '../../host/errors.ts';
import { openArchive, receiveArchive } from '../../oci/archive/open.ts';
import { asDescriptor } from '../../oci/descriptor.ts';
import { partsOf } from '../../oci/image/contents.ts';
import type { Image } from '../../oci/image/image.ts';
import type { Platform } from '../../oci/platform.ts';
import { canonicalReference } from '../../oci/reference.ts';
import { storeImage } from '../../oci/store/image.ts';
import { hasImage, keepImage } from '../../oci/store/keep.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Provider } from '../../provider/provider.ts';

/** Images to load; an engine's need not be opened when every node has them. */
export interface LoadSource {
  /** For people: `app.tar`, `docker`. */
  readonly title: string;
  /** Names and image ids, where they are known before anything is read. */
  readonly known?: readonly { readonly names: readonly string[]; readonly config: string }[];
  /** Images with canonical names, whole for these platforms; of `known` ones only those with one of `names`. */
  open(platforms: readonly Platform[], names?: ReadonlySet<string>): Promise<readonly Image[]>;
}

/** The images of an archive or a layout folder. `open` throws `archive` when one has no name that a pod could use. */
export function archiveSource(store: Store, path: string): LoadSource {
  return {
    title: basename(path),
    open: async () => (await openArchive(store, path)).map(withCanonicalNames),
  };
}

/**
 * Finds each reference: in kina's store, else in the first engine that has it. Throws `usage` for what is not a reference,
 * `not-found` that lists every image that was not found.
 */
export async function findSources(
  references: readonly string[],
  store: Store,
  engines: readonly Provider[],
): Promise<LoadSource[]> {
  const sources: LoadSource[] = [];
  const inEngine = new Map<Provider, Wanted[]>();
  const missing: string[] = [];
  const silent = new Map<Provider, string>();
  for (const reference of new Set(references)) {
    const name = canonicalReference(reference);
    const stored = (await store.resolve(reference)) ?? (await store.resolve(name));
    if (stored) {
      sources.push({ title: "kina's store", open: async () => [storeImage(store, stored, [name])] });
      continue;
    }
    const held = await firstWith(engines, reference, silent);
    if (held) inEngine.set(held.engine, [...(inEngine.get(held.engine) ?? []), { reference, ...held }]);
    else missing.push(reference);
  }
  if (missing.length > 0)
    throw new KinaError('not-found', `image not found: ${missing.join(', ')}`, {
      details: [
        `searched: ${["kina's store", ...engines.filter((one) => !silent.has(one)).map((one) => one.name)].join(', ')}`,
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
  /** The image id. */
  readonly config: string;
}

/** An engine that does not work is skipped; `silent` gets the reason. */
async function firstWith(engines: readonly Provider[], reference: string, silent: Map<Provider, string>) {
  for (const engine of engines) {
    const image = await engine.image(reference).catch((error) => {
      if (!(error instanceof KinaError)) throw error;
      silent.set(engine, error.details[0] ?? error.message);
      return undefined;
    });
    if (image) return { engine, names: namesFor(reference, image), config: image.config };
  }
  return undefined;
}

/** The names that pods may use for an image of an engine. */
function namesFor(reference: string, image: { readonly names: readonly string[]; readonly config: string }): string[] {
  if (isIdOf(reference, image)) {
    if (image.names.length > 0) return image.names.map(canonicalReference);
    throw new KinaError('usage', `the image ${reference} has no name that a pod could use`, {
      hint: 'Give it a name first, with `podman tag` or `docker tag`.',
    });
  }
  const name = canonicalReference(reference);
  // podman calls what it built `localhost/app:1` and finds it as `app:1`; a pod may use either name.
  const own = `localhost/${name.replace(/^docker\.io\/(library\/)?/, '')}`;
  return image.names.includes(own) ? [name, own] : [name];
}

/** Whether a reference is an image id, whole or the beginning of one, and not a name. */
function isIdOf(reference: string, { names, config }: { readonly names: readonly string[]; readonly config: string }) {
  const hex = reference.replace(/^sha256:/, '');
  const isName = names.some((name) => name.replace(/:latest$/, '').endsWith(`/${reference}`));
  return /^[0-9a-f]{4,64}$/.test(hex) && config.replace(/^sha256:/, '').startsWith(hex) && !isName;
}

function engineSource(store: Store, engine: Provider, wanted: readonly Wanted[]): LoadSource {
  return {
    title: engine.name,
    known: wanted,
    async open(platforms, names) {
      const needed = names ? wanted.filter((one) => one.names.some((name) => names.has(name))) : wanted;
      const images: Image[] = [];
      const unknown: Wanted[] = [];
      for (const one of needed) {
        const image = await recall(store, one, platforms);
        if (image) images.push(image);
        else unknown.push(one);
      }
      if (unknown.length === 0) return images;
      const save = engine.saveLayout ? throughLayout : throughArchive;
      await save(store, engine, unknown, async (saved) => {
        for (const one of unknown) {
          const { root } = await keepImage(store, await matching(saved, one, platforms), platforms);
          await store.putRecord(recordKind, one.config.replace(':', '-'), root);
          images.push(storeImage(store, root, one.names));
        }
      });
      return images;
    },
  };
}

const recordKind = 'engine-image';

/** What an engine saved before under this image id, when the store still has all of it. */
async function recall(
  store: Store,
  { config, names }: Wanted,
  platforms: readonly Platform[],
): Promise<Image | undefined> {
  const root = asDescriptor(await store.getRecord(recordKind, config.replace(':', '-')));
  return root && (await hasImage(store, root, platforms)) ? storeImage(store, root, names) : undefined;
}

/** The engine writes into the store's own blobs what is missing there; the store verifies all of it. */
async function throughLayout(
  store: Store,
  engine: Provider,
  wanted: readonly Wanted[],
  keep: (images: readonly Image[]) => Promise<void>,
): Promise<void> {
  const folder = store.temporaryPath();
  try {
    await mkdir(folder);
    await symlink(join(store.root, 'blobs'), join(folder, 'blobs'));
    for (const { reference } of wanted) await engine.saveLayout!(reference, folder);
    await keep(await openArchive(store, folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function throughArchive(
  store: Store,
  engine: Provider,
  wanted: readonly Wanted[],
  keep: (images: readonly Image[]) => Promise<void>,
): Promise<void> {
  const { stdout, finished } = engine.save(wanted.map(({ reference }) => reference));
  // When saving fails, the archive is cut short as well; people need to know why it failed.
  const images = await receiveArchive(store, stdout, `the archive from ${engine.name}`).catch(async (error) => {
    stdout.destroy();
    await finished;
    throw error;
  });
  await finished;
  await keep(images);
}

/** By image id; docker with containerd's store has ids of another kind, but its archives have names. */
async function matching(
  images: readonly Image[],
  { reference, names, config }: Wanted,
  platforms: readonly Platform[],
): Promise<Image> {
  for (const image of images) {
    const { blobs } = await partsOf(image, platforms);
    if ([...blobs.keys()].some((digest) => digest === config)) return image;
  }
  const named = images.find((image) => image.names.some((name) => name === reference || names.includes(name)));
  if (named) return named;
  throw new KinaError('integrity', `${reference} is not in the archive that the engine saved for it`, {
    hint: 'Try again.',
  });
}

function withCanonicalNames(image: Image): Image {
  const names = image.names.filter((name) => /[/:]/.test(name)).map(canonicalReference);
  if (names.length > 0) return { ...image, names: [...new Set(names)] };
  throw new KinaError('archive', `an image in ${image.title} has no name that a pod could use`, {
    details: [image.root.digest, ...image.names],
    hint: 'Name it when saving: `docker save NAME`, `skopeo copy SOURCE oci-archive:FILE:NAME:TAG`.',
  });
}
