/**
 * The differences between two images: for each platform the layers, files, Debian packages, components and config. Layers are
 * compared by their diffIDs. When some differ, all files of both images are read, because a file may have moved from one layer
 * to another.
 *
 * A layer may differ without a difference in its files (time stamps, the order of entries, extra records): `sameFiles`.
 */
import { canonicalJson } from '../../host/json.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import { type ImageLayer, imageLayers } from '../../oci/image/history.ts';
import { nameOf } from '../../oci/image/select.ts';
import { labels } from '../../oci/node-conventions.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Entry } from '../../tree/entry.ts';
import { comparePaths } from '../../tree/tree.ts';
import { type ImagePackages, isPackageText, packageAbout, packagesOf } from './packages.ts';
import { type ReadImage, type ReadImageOptions, readImage } from './read.ts';

/** `a` is undefined when only the second image has it, `b` when only the first one has it. */
export interface Change<T> {
  readonly name: string;
  readonly a: T | undefined;
  readonly b: T | undefined;
}
export interface LayerSide {
  readonly diffId: Digest;
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
}
export interface LayerChange extends Change<LayerSide> {
  /** Both images have it with equal files: only time stamps, order or compression differ. */
  readonly sameFiles: boolean;
}
export interface FileSide {
  readonly type: Entry['type'];
  /** Octal, four digits. */
  readonly mode: string;
  /** `uid:gid`. */
  readonly owner: string;
  readonly size: number;
  readonly target: string | undefined;
  /** SHA-256 of the content. */
  readonly digest: string | undefined;
  readonly xattrs: Readonly<Record<string, string>>;
  readonly layer: string;
}
export interface FileChange extends Change<FileSide> {
  /** Which properties differ, for a file in both. */
  readonly what: readonly (keyof FileSide)[];
  /** The package that lists it, in the second image if it has the file. */
  readonly package: string | undefined;
}
export interface PlatformDiff {
  readonly platform: string;
  readonly layers: readonly LayerChange[];
  readonly files: readonly FileChange[];
  /** Versions. */
  readonly packages: readonly Change<string>[];
  /** Versions. */
  readonly components: readonly Change<string>[];
  /** Of the config: environment, entrypoint, labels other than components' … as canonical JSON. */
  readonly config: readonly Change<string>[];
  /** Bytes of all layers' blobs. */
  readonly size: { readonly a: number; readonly b: number };
}
export interface ImageDiff {
  readonly identical: boolean;
  /** Platforms that only one image has. */
  readonly onlyA: readonly string[];
  readonly onlyB: readonly string[];
  /** Platforms in both that differ. */
  readonly platforms: readonly PlatformDiff[];
}

/** Compares the platforms that both images have. */
export async function diffImages(
  store: Store,
  a: readonly PlatformImage[],
  b: readonly PlatformImage[],
  options: Pick<ReadImageOptions, 'signal'> = {},
): Promise<ImageDiff> {
  const names = (images: readonly PlatformImage[]) => images.map(nameOf);
  const onlyA = names(a).filter((name) => !names(b).includes(name));
  const onlyB = names(b).filter((name) => !names(a).includes(name));
  const platforms: PlatformDiff[] = [];
  for (const left of a) {
    const right = b.find((image) => nameOf(image) === nameOf(left));
    if (right && left.descriptor.digest !== right.descriptor.digest)
      platforms.push(await diffPlatform(store, left, right, options));
  }
  return { identical: !onlyA.length && !onlyB.length && !platforms.length, onlyA, onlyB, platforms };
}

async function diffPlatform(
  store: Store,
  a: PlatformImage,
  b: PlatformImage,
  options: Pick<ReadImageOptions, 'signal'>,
): Promise<PlatformDiff> {
  const layersA = imageLayers(a);
  const layersB = imageLayers(b);
  const differs = layersA.map((l) => l.diffId).join() !== layersB.map((l) => l.diffId).join();
  const how = { ...options, texts: isPackageText, hash: true };
  const readA = differs ? await readImage(store, a, how) : undefined;
  const readB = differs ? await readImage(store, b, how) : undefined;
  const packagesA = readA && packagesOf(readA);
  const packagesB = readB && packagesOf(readB);
  const files = readA && readB ? diffFiles(readA, readB, (path) => ownerOf(path, packagesB, packagesA)) : [];
  return {
    platform: nameOf(a),
    layers: diffLayers(layersA, layersB, files),
    files,
    packages: changes(versions(packagesA), versions(packagesB)),
    components: changes(components(a), components(b)),
    config: changes(settings(a), settings(b)),
    size: { a: sizeOf(layersA), b: sizeOf(layersB) },
  };
}

function diffLayers(a: readonly ImageLayer[], b: readonly ImageLayer[], files: readonly FileChange[]): LayerChange[] {
  const touched = new Set(files.flatMap((file) => [file.a?.layer, file.b?.layer]));
  const side = ({ diffId, descriptor: { digest, size } }: ImageLayer): LayerSide => ({ diffId, digest, size });
  const byName = (layers: readonly ImageLayer[]) => new Map(layers.map((layer) => [layer.name, side(layer)]));
  return changes(byName(a), byName(b)).map((change) => ({
    ...change,
    sameFiles: change.a !== undefined && change.b !== undefined && !touched.has(change.name),
  }));
}

function diffFiles(a: ReadImage, b: ReadImage, owner: (path: string) => string | undefined): FileChange[] {
  const sides = ({ tree }: ReadImage) => new Map([...tree.values()].map((entry) => [entry.path, fileSide(entry)]));
  return changes(sides(a), sides(b))
    .map(
      (change): FileChange => ({
        ...change,
        what: change.a && change.b ? differing(change.a, change.b) : [],
        package: owner(change.name),
      }),
    )
    .sort((x, y) => comparePaths(x.name, y.name));
}

function fileSide(entry: Entry): FileSide {
  return {
    type: entry.type,
    mode: entry.mode.toString(8).padStart(4, '0'),
    owner: `${entry.uid}:${entry.gid}`,
    size: entry.type === 'file' ? entry.content.size : 0,
    target: 'target' in entry ? entry.target : undefined,
    digest: entry.type === 'file' ? entry.content.key : undefined,
    xattrs: Object.fromEntries(
      [...(entry.xattrs ?? [])].map(([key, value]) => [key, Buffer.from(value).toString('hex')]),
    ),
    layer: entry.owner,
  };
}

function differing(a: FileSide, b: FileSide): (keyof FileSide)[] {
  const keys = Object.keys(a) as (keyof FileSide)[];
  return keys.filter((key) => canonicalJson(a[key] ?? null) !== canonicalJson(b[key] ?? null));
}

function ownerOf(path: string, ...packages: (ImagePackages | undefined)[]): string | undefined {
  for (const one of packages) {
    const [owner] = one?.owners(path) ?? [];
    if (owner !== undefined) return owner;
  }
  const about = packageAbout(path);
  return packages.some((one) => about !== undefined && one?.packages.has(about)) ? about : undefined;
}

function versions(packages: ImagePackages | undefined): Map<string, string> {
  return new Map([...(packages?.packages ?? [])].map(([name, { version }]) => [name, version]));
}

const componentPrefix = labels.component('');

/** The versions in the image's labels. */
export function components({ config }: PlatformImage): Map<string, string> {
  const all = Object.entries(config.config?.Labels ?? {});
  return new Map(
    all.filter(([key]) => key.startsWith(componentPrefix)).map(([key, v]) => [key.slice(componentPrefix.length), v]),
  );
}

function settings({ config, manifest }: PlatformImage): Map<string, string> {
  const { Labels, ...rest } = config.config ?? {};
  const own = Object.entries(Labels ?? {}).filter(([key]) => !key.startsWith(componentPrefix));
  const all = [
    ...Object.entries(rest),
    ...own.map(([key, value]) => [`label ${key}`, value]),
    ...Object.entries(manifest.annotations ?? {}).map(([key, value]) => [`annotation ${key}`, value]),
    ['created', config.created],
    ['history', config.history ?? []],
  ] as [string, unknown][];
  return new Map(all.map(([key, value]) => [key, typeof value === 'string' ? value : canonicalJson(value ?? null)]));
}

function sizeOf(layers: readonly ImageLayer[]): number {
  return layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
}

/** The differences between two tables, in the order of the first, additions last. */
function changes<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): Change<T>[] {
  const all = [...new Set([...a.keys(), ...b.keys()])];
  return all
    .map((name) => ({ name, a: a.get(name), b: b.get(name) }))
    .filter((one) => canonicalJson(one.a ?? null) !== canonicalJson(one.b ?? null));
}
