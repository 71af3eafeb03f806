/**
 * Descriptors, manifests, indexes and configs of the OCI image specification as types, and the one place where bytes from
 * outside are parsed into them.
 *
 * Documents from a registry or an archive are untrusted: sizes are limited before anything is parsed, the form of every
 * digest and size is checked, and errors name the document and the field. Unknown fields are kept, because the specification
 * requires readers to ignore them. Docker's schema 2 types are read like their OCI counterparts; kina writes only OCI.
 */
import { z } from 'zod';
import { KinaError } from '../host/errors.ts';

/** Only SHA-256: the one algorithm that every registry, engine and archive format of interest uses. */
export type Digest = `sha256:${string}`;

export const mediaType = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** Registries are asked to accept manifests up to 4 MiB (distribution specification, "Pushing Manifests"). */
export const maxManifestBytes = 4 << 20;
/** Configs hold the history; 1 MiB would do for any real image. */
export const maxConfigBytes = 8 << 20;

/** The limit for a document of this media type. */
export function maxDocumentBytes(type: string): number {
  return isIndexType(type) || isManifestType(type) ? maxManifestBytes : maxConfigBytes;
}

const digest = z.custom<Digest>((v) => typeof v === 'string' && isDigest(v), 'not a sha256 digest');
const size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const annotations = z.record(z.string(), z.string());
const platform = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
  'os.version': z.string().optional(),
});
const descriptor = z.looseObject({
  mediaType: z.string(),
  digest,
  size,
  annotations: annotations.optional(),
  platform: platform.optional(),
});
const index = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptor).max(10_000),
  annotations: annotations.optional(),
});
const manifest = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  config: descriptor,
  layers: z.array(descriptor).max(1_000),
  annotations: annotations.optional(),
});
const strings = z.array(z.string()).nullish();
const config = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
  created: z.string().optional(),
  config: z
    .looseObject({
      Entrypoint: strings,
      Cmd: strings,
      Env: strings,
      Labels: z.record(z.string(), z.string()).nullish(),
      WorkingDir: z.string().optional(),
      StopSignal: z.string().optional(),
      User: z.string().optional(),
    })
    .nullish(),
  rootfs: z.looseObject({ type: z.literal('layers'), diff_ids: z.array(digest).max(1_000).nullable() }),
  history: z
    .array(
      z.looseObject({
        created: z.string().optional(),
        created_by: z.string().optional(),
        comment: z.string().optional(),
        empty_layer: z.boolean().optional(),
      }),
    )
    .nullish(),
});

export type Annotations = Readonly<Record<string, string>>;
/** A platform in an index: wider than kina's own `Platform`, because indexes name every platform there is. */
export interface DescriptorPlatform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Annotations | undefined;
  readonly platform?: DescriptorPlatform | undefined;
}
export type ImageIndex = z.infer<typeof index>;
export type ImageManifest = z.infer<typeof manifest>;
export type ImageConfig = z.infer<typeof config>;

export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** The 64 hex digits of a digest: a safe file name, also on file systems that ignore case. */
export function hexOf(value: Digest): string {
  if (!isDigest(value)) throw new KinaError('integrity', `not a sha256 digest: ${JSON.stringify(value)}`);
  return value.slice('sha256:'.length);
}

export function isIndexType(type: string): boolean {
  return type === mediaType.index || type === mediaType.dockerIndex;
}

export function isManifestType(type: string): boolean {
  return type === mediaType.manifest || type === mediaType.dockerManifest;
}

/** For what a node cannot run: a chart, a signature, an image of another system. */
export function notAnImage(title: string, type: string): KinaError {
  return new KinaError('archive', `${title} is not a container image: ${type || 'unknown media type'}`, {
    hint: type.includes('manifest.v1')
      ? 'Its manifest has the old schema 1. Push it again with a current tool.'
      : 'It may be a chart, a signature or an image for another system. Check the name.',
  });
}

/** `where` names the document in errors: a path, a URL, a digest. */
export function parseIndex(bytes: Uint8Array, where: string): ImageIndex {
  return parse(index, bytes, maxManifestBytes, 'image index', where);
}

export function parseManifest(bytes: Uint8Array, where: string): ImageManifest {
  return parse(manifest, bytes, maxManifestBytes, 'image manifest', where);
}

export function parseConfig(bytes: Uint8Array, where: string): ImageConfig {
  return parse(config, bytes, maxConfigBytes, 'image config', where);
}

/** A descriptor from JSON that kina wrote; undefined when it is not one. */
export function asDescriptor(value: unknown): Descriptor | undefined {
  const result = descriptor.safeParse(value);
  return result.success ? result.data : undefined;
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, limit: number, what: string, where: string): T {
  if (bytes.length > limit)
    throw new KinaError('archive', `${what} ${where} has ${bytes.length} bytes, more than the ${limit} allowed`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new KinaError('archive', `${what} ${where} is not JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new KinaError('archive', `${where} is not a valid ${what}`, {
    details: result.error.issues.slice(0, 10).map((issue) => `${issue.path.join('.') || 'document'}: ${issue.message}`),
  });
}
