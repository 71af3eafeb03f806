/** The image store: what `image load` accepts and refuses, and what is known of an image afterwards. */
import { createHash } from 'node:crypto';
import { closeSync, copyFileSync, createReadStream, existsSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { BlobRef } from '../../src/oci/image/image.ts';
import { type ArchiveMember, tarStream } from '../../src/oci/output/tar.ts';
import { compact, pretty } from './json.ts';
import { layerProblems } from './layers.ts';
import { mustPodman, podman } from './podman.ts';
import { failure, Refusal } from './refusal.ts';
import { change, folder, prefix, read, type StoredImage } from './state.ts';
import { type TarMember, tarMembers } from './tar.ts';

const nameKeys = [
  'com.apple.containerization.image.name',
  'io.containerd.image.name',
  'org.opencontainers.image.ref.name',
];

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { os: string; architecture: string; variant?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** `foo` is `docker.io/library/foo:latest`; the first part is a registry when it says so. */
export function normalized(reference: string): string {
  const [first = ''] = reference.split('/');
  const registry = reference.includes('/') && (first === 'localhost' || /[.:]/.test(first));
  const path = registry ? reference : `docker.io/${reference.includes('/') ? reference : `library/${reference}`}`;
  return /(:[^/]+|@sha256:.*)$/.test(path.slice(path.indexOf('/'))) ? path : `${path}:latest`;
}

export function findStored(reference: string): StoredImage | undefined {
  return read().images[normalized(reference)];
}

export async function load(input: string | undefined): Promise<string> {
  if (input === undefined) throw new Error('the stand-in loads from files only: kina has no reason for another way');
  if (!existsSync(input)) throw new Refusal(`file does not exist: ["path": ${input}]\n`);
  const fd = openSync(input, 'r');
  try {
    return await loadFrom(fd, input);
  } finally {
    closeSync(fd);
  }
}

async function loadFrom(fd: number, path: string): Promise<string> {
  const members = new Map<string, TarMember>();
  for (const member of tarMembers(fd, 0, statSync(path).size)) {
    if (!'0527'.includes(member.type) || member.name.split('/').includes('..'))
      throw failure(`cannot load tar image with rejected paths: ["${member.name}"]`);
    members.set(member.name, member);
  }
  const layout = members.get('oci-layout');
  if (!layout || !members.has('index.json')) throw failure('/var/folders/zz/T/stand-in/oci-layout');
  if (!json<{ imageLayoutVersion?: string }>(fd, layout).imageLayoutVersion) throw failure('no imageLayoutVersion');
  const blob = (digest: string): TarMember => {
    const member = members.get(`blobs/sha256/${digest.replace('sha256:', '')}`);
    if (!member) throw failure(`notFound: "content with digest ${digest}"`);
    return member;
  };
  const references: string[] = [];
  for (const entry of json<{ manifests: Descriptor[] }>(fd, members.get('index.json')!).manifests) {
    const names = nameKeys.map((key) => entry.annotations?.[key]);
    const [name] = names;
    // Upstream takes the first that is there; another one in it would be another image elsewhere.
    if (!name || names.some((one) => one !== name))
      throw failure(`the stand-in wants the name in ${nameKeys.join(', ')}`);
    if (!entry.mediaType.endsWith('index.v1+json'))
      throw failure(`${entry.digest} is a bare manifest: it would be wrapped`);
    const { manifests } = json<{ manifests: Descriptor[] }>(fd, blob(entry.digest));
    const [only, ...others] = manifests;
    if (!only?.platform) throw failure(`a manifest of ${entry.digest} has no platform`);
    if (others.length > 0)
      throw failure('several platforms: each would be unpacked, also those that this machine cannot run');
    references.push(await take(fd, path, { entry, name, manifest: only, blob }));
  }
  if (references.length === 1 && statSync(path).size < keptBytes) copyFileSync(path, keptArchive(references[0]!));
  return references.map((one) => `${one}\n`).join('');
}

/** Small images can be saved again: as they came. */
const keptBytes = 64 << 20;
const keptArchive = (name: string): string => join(folder, `${name.replaceAll('/', '_')}.tar`);

/** The file that `image save` writes. */
export function savedArchive(reference: string, platform: string | undefined): string {
  const image = findStored(reference);
  if (!image)
    throw new Refusal(
      `failed to get image for reference ${reference}: notFound: "image with reference ${reference}"\nError: failed to save image(s)\n`,
    );
  const has = (image.variant as { platform: { architecture: string } }).platform.architecture;
  if (platform !== undefined && platform.split('/')[1] !== has)
    throw failure(`image ${image.name} has no content for platform ${platform}; available platforms: linux/${has}`);
  if (!existsSync(keptArchive(image.name))) throw new Error('the stand-in saves small images only');
  return keptArchive(image.name);
}

/** One certificate of Debian's has such a name. Programs read the bundle, which has it too, whatever its file is called. */
const tolerated = /^layer \d+: (usr\/share\/ca-certificates|etc\/ssl\/certs)\/.*: not ASCII/;

interface Arrival {
  readonly entry: Descriptor;
  readonly name: string;
  readonly manifest: Descriptor;
  readonly blob: (digest: string) => TarMember;
}

async function take(fd: number, path: string, { entry, name, manifest, blob }: Arrival): Promise<string> {
  type Manifest = { config: Descriptor; layers: Descriptor[] };
  const content = json<Manifest>(fd, blob(manifest.digest));
  const every = [entry, manifest, content.config, ...content.layers];
  for (const { digest, size } of every) {
    const member = blob(digest);
    if (member.size !== size || (await hashOf(path, member)) !== digest) throw failure(`digest mismatch of ${digest}`);
  }
  for (const { mediaType, digest } of content.layers)
    if (!/^application\/vnd\.(oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)$/.test(mediaType))
      throw failure(`${digest} is ${mediaType}: local loads are uncompressed, as kina's are by default`);
  const layers = content.layers.map(({ digest }) => {
    const { offset, size } = blob(digest);
    return tarMembers(fd, offset, offset + size);
  });
  const problems = layerProblems(layers).filter((one) => !tolerated.test(one));
  if (problems.length > 0)
    throw failure(`the ext4 unpacker would not like ${name}:\n${problems.slice(0, 20).join('\n')}`);
  const own = await toPodman(path, every, blob, entry);
  const config = json<Record<string, unknown>>(fd, blob(content.config.digest));
  const stored: StoredImage = {
    name,
    own,
    descriptor: { ...entry },
    variant: {
      config,
      digest: manifest.digest,
      platform: manifest.platform,
      size: every.reduce((sum, { size }) => sum + size, 0),
    },
  };
  await change((state) => {
    state.images[name] = stored;
  });
  return name;
}

/** The same image under a name that only this stand-in uses. */
async function toPodman(
  path: string,
  every: readonly Descriptor[],
  blob: Arrival['blob'],
  entry: Descriptor,
): Promise<string> {
  const own = `localhost/${prefix}:${entry.digest.slice(7, 19)}`;
  const { mediaType, digest, size } = entry;
  const index = { schemaVersion: 2, manifests: [{ mediaType, digest, size, annotations: { [nameKeys[2]!]: own } }] };
  const members: ArchiveMember[] = [
    { name: 'oci-layout', bytes: Buffer.from('{"imageLayoutVersion":"1.0.0"}') },
    { name: 'index.json', bytes: Buffer.from(JSON.stringify(index)) },
    ...every.map((one) => ({
      name: `blobs/sha256/${one.digest.slice(7)}`,
      digest: one.digest as `sha256:${string}`,
      size: one.size,
    })),
  ];
  const blobs = {
    blob: ({ digest }: BlobRef) => {
      const { offset, size } = blob(digest);
      return size === 0
        ? Readable.from([])
        : createReadStream(path, { start: offset, end: offset + size - 1, highWaterMark: 1 << 20 });
    },
  };
  await mustPodman(['load', '--quiet'], Readable.from(tarStream(blobs, members), { objectMode: false }));
  return own;
}

function json<T>(fd: number, { offset, size }: TarMember): T {
  const bytes = Buffer.alloc(size);
  readSync(fd, bytes, 0, size, offset);
  return JSON.parse(bytes.toString('utf8')) as T;
}

async function hashOf(path: string, { offset, size }: TarMember): Promise<string> {
  const hash = createHash('sha256');
  if (size > 0)
    for await (const chunk of createReadStream(path, { start: offset, end: offset + size - 1, highWaterMark: 1 << 20 }))
      hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

function resource({ name, descriptor, variant }: StoredImage): unknown {
  return {
    id: descriptor.digest.slice(7),
    configuration: { name, creationDate: '2026-08-01T00:00:00Z', descriptor },
    variants: [variant],
  };
}

export function inspectImages(references: readonly string[]): string {
  const found = references.map((reference) => [reference, findStored(reference)] as const);
  const absent = found.filter(([, image]) => !image).map(([reference]) => reference);
  if (absent.length > 0) throw failure(`image not found: ${absent.join(', ')}`);
  return pretty(found.map(([, image]) => resource(image!)));
}

export function listImages(): string {
  const images = Object.values(read().images).sort((a, b) => (a.name < b.name ? -1 : 1));
  return compact(images.map(resource));
}

export async function deleteImages(references: readonly string[], force: boolean): Promise<string> {
  const gone: string[] = [];
  const absent: string[] = [];
  for (const reference of references) {
    const image = findStored(reference);
    if (!image) {
      absent.push(reference);
      continue;
    }
    await change((state) => {
      delete state.images[image.name];
    });
    if (!Object.values(read().images).some(({ own }) => own === image.own)) await podman(['image', 'rm', image.own]);
    gone.push(image.name);
  }
  const said = gone.map((one) => `${one}\n`).join('');
  if (absent.length > 0 && !force)
    throw failure(`failed to delete one or more images: [${absent.map((one) => `"${one}"`).join(', ')}]`, said);
  return said;
}
