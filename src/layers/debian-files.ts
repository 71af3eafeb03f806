/**
 * Files of Debian packages for kina itself, such as a kernel for a boot test. They are resolved, verified and fetched like the
 * packages of an image, but without dependencies, because they are not installed.
 */
import type { Artifact } from '../artifacts/artifact.ts';
import { unpackPackage } from '../debian/deb.ts';
import { openArchives, planPackages } from '../debian/index.ts';
import { debianKeyring } from '../debian/keyring.ts';
import { decompressFile } from '../host/compression/decompress.ts';
import type { Architecture } from '../oci/platform.ts';
import type { Session } from '../session/session.ts';
import { type FileEntry, readAll } from '../tree/entry.ts';
import { archiveContext } from './kinds/debian.ts';

export interface DebianFilesRequest {
  readonly suite: string;
  readonly architecture: Architecture;
  /** Packages to resolve, also metapackages. */
  readonly packages: readonly string[];
  /** Which packages of the closure are wanted. */
  readonly wanted: (name: string) => boolean;
}

/** The wanted packages as artifacts. Throws as planning an image does. */
export async function planDebianFiles(
  session: Session,
  { suite, architecture, packages, wanted }: DebianFilesRequest,
): Promise<Artifact[]> {
  const context = archiveContext(session);
  const archives = await openArchives(
    [
      {
        archive: 'debian',
        suite,
        components: ['main'],
        keyring: debianKeyring,
        checkValidUntil: session.debianCheckValidUntil,
      },
    ],
    context,
  );
  const planned = await planPackages(archives, { architecture, packages, exclude: [], essential: false }, context);
  return planned.map(({ artifact }) => artifact).filter(({ name }) => wanted(name));
}

export interface DebianFile {
  /** Without leading slash, usr-merged. */
  readonly path: string;
  /** The bytes, decompressed where the name ends in `.xz`. */
  read(): Promise<Buffer>;
}

/** Larger than any kernel. */
const maxBytes = 256 << 20;

/** Fetches packages and lists their regular files. */
export async function debianFiles(session: Session, artifacts: readonly Artifact[]): Promise<DebianFile[]> {
  const fetched = await session.fetcher.fetchAll(artifacts);
  const files: DebianFile[] = [];
  for (const one of fetched) {
    const { entries } = await unpackPackage(one, { unpacker: session.unpacker, keep: () => true });
    for (const entry of entries)
      if (entry.type === 'file') files.push({ path: entry.path, read: () => contentOf(entry) });
  }
  return files;
}

async function contentOf({ path, content }: FileEntry): Promise<Buffer> {
  const [slice] = content.segments;
  if (!path.endsWith('.xz') || !slice || !('file' in slice)) return readAll(content, maxBytes);
  const { file, offset, size } = slice;
  const parts: Buffer[] = [];
  for await (const chunk of decompressFile(file, { offset, size, limit: maxBytes, from: path })) parts.push(chunk);
  return Buffer.concat(parts);
}
