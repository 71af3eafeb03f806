/** The images of an OCI layout, as a folder or a tar: the entries of `index.json`. */
import { KinaError } from '../../host/errors.ts';
import {
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  mediaType,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';
import { indexJson } from '../image/build.ts';
import type { Image } from '../image/image.ts';
import { subjectOf } from '../registry/referrers.ts';
import { dockerEntries } from './docker.ts';
import type { ArchiveFiles } from './files.ts';

interface Entry {
  readonly descriptor: Descriptor;
  readonly names: string[];
}

/** `index` is the content of `index.json`. */
export async function ociImages(files: ArchiveFiles, index: Buffer): Promise<Image[]> {
  const referrers = new Map<Digest, Descriptor[]>();
  const entries = new Map<Digest, Entry>();
  for (const descriptor of parseIndex(index, `${files.title}: index.json`).manifests) {
    const { mediaType: type, digest } = descriptor;
    // Artifacts of other kinds may be beside images.
    if (isAttestation(descriptor) || !(isIndexType(type) || isManifestType(type))) continue;
    const names = namesOf(descriptor);
    const subject = names.length === 0 ? await subjectIn(files, descriptor) : undefined;
    if (subject !== undefined) referrers.set(subject, [...(referrers.get(subject) ?? []), descriptor]);
    else entries.set(digest, { descriptor, names: [...(entries.get(digest)?.names ?? []), ...names] });
  }
  const images: Image[] = [];
  for (const { descriptor, names } of joinPlatforms(files, [...entries.values()]))
    images.push(files.image(descriptor, names.length > 0 ? names : await dockerNames(files, descriptor), referrers));
  return images;
}

/** Some writers list the manifests of an image's platforms under one name. That is an index, which kina makes. */
function joinPlatforms(files: ArchiveFiles, entries: readonly Entry[]): Entry[] {
  const groups = Map.groupBy(entries, ({ descriptor, names }) =>
    names.length > 0 && descriptor.platform && isManifestType(descriptor.mediaType)
      ? names.toSorted().join(' ')
      : descriptor.digest,
  );
  return [...groups.values()].flatMap((group) => {
    const [first] = group as [Entry];
    if (group.length === 1) return group;
    const descriptors = group.map(({ descriptor }) => descriptor);
    const platforms = new Set(descriptors.map(({ platform }) => JSON.stringify(platform)));
    if (platforms.size < group.length) return group;
    return { descriptor: { mediaType: mediaType.index, ...files.add(indexJson(descriptors)) }, names: first.names };
  });
}

async function subjectIn(files: ArchiveFiles, descriptor: Descriptor): Promise<Digest | undefined> {
  if (!isManifestType(descriptor.mediaType) || !(await files.has(descriptor.digest))) return undefined;
  return subjectOf(await files.document(descriptor));
}

/** Archives made for docker keep their names in `manifest.json`; the config tells which image has which name. */
async function dockerNames(files: ArchiveFiles, descriptor: Descriptor): Promise<readonly string[]> {
  const entries = await dockerEntries(files);
  if (!entries) return [];
  const configs = await configsOf(files, descriptor, 0);
  return entries.find(({ config }) => configs.includes(config.digest))?.names ?? [];
}

/** Digests of the configs of all platforms that are in the archive. */
async function configsOf(files: ArchiveFiles, descriptor: Descriptor, depth: number): Promise<Digest[]> {
  if (depth > 3 || !(await files.has(descriptor.digest))) return [];
  const bytes = await files.document(descriptor);
  const where = `${files.title}: ${descriptor.digest}`;
  if (!isIndexType(descriptor.mediaType)) return [parseManifest(bytes, where).config.digest];
  const inner = await Promise.all(parseIndex(bytes, where).manifests.map((one) => configsOf(files, one, depth + 1)));
  return inner.flat();
}

/** BuildKit stores attestations beside images, as manifests of an unknown platform. */
function isAttestation({ platform, annotations }: Descriptor): boolean {
  return platform?.os === 'unknown' || annotations?.['vnd.docker.reference.type'] !== undefined;
}

function namesOf({ annotations }: Descriptor): string[] {
  const name =
    annotations?.['com.apple.containerization.image.name'] ??
    annotations?.['io.containerd.image.name'] ??
    annotations?.['org.opencontainers.image.ref.name'];
  return name ? [name] : [];
}

/** The image of that name, or the only one. Throws `not-found`, and `usage` when there are several. */
export function selectImage(images: readonly Image[], name: string | undefined): Image {
  const fitting = name === undefined ? images : images.filter(({ names }) => names.includes(name));
  const [image] = fitting;
  if (image && fitting.length === 1) return image;
  const title = images[0]?.title ?? 'the archive';
  const names = images.flatMap((one) => one.names);
  if (name !== undefined && !image)
    throw new KinaError('not-found', `${title} has no image ${name}`, { details: names });
  throw new KinaError('usage', `${title} contains several images`, {
    details: names,
    hint: 'Say which one: TYPE:PATH:NAME.',
  });
}
