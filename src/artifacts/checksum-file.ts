/**
 * Parses checksum files in the formats that projects publish: the bare digest (dl.k8s.io), `DIGEST  FILE` lists of
 * sha256sum (containerd, CNI plugins), the same inside an OpenPGP clear-signed text (runc), `SHA256 (FILE) = DIGEST` as in
 * BSD and OpenSSL, and an npm registry's document about a version (JSON with `dist.integrity`).
 */
import { KinaError } from '../host/errors.ts';

export interface Checksum {
  readonly algorithm: 'sha256' | 'sha512';
  /** Lower-case hex. */
  readonly hex: string;
}
interface Line {
  readonly name: string;
  readonly hex: string;
}

/** By the number of hex digits. MD5 and SHA-1 are recognized only to be refused by name. */
const algorithms: Readonly<Record<number, string>> = {
  32: 'md5',
  40: 'sha1',
  56: 'sha224',
  64: 'sha256',
  96: 'sha384',
  128: 'sha512',
};

/**
 * The checksum of `file` (a name without folders) in `text`; SHA-256 if there are several algorithms. `where` names the
 * checksum file in errors. Throws `integrity` if the file is not listed, is listed with different digests, or only with
 * weak digests.
 */
export function findChecksum(text: string, file: string, where: string): Checksum {
  const bare = /^\s*([0-9a-f]{32,128})\s*$/i.exec(text)?.[1];
  const lines = bare ? [{ name: file, hex: bare.toLowerCase() }] : (npmVersion(text) ?? parseLines(text));
  const exact = lines.filter((line) => line.name === file);
  // `sha256sum dist/*` writes paths; `sha256sum < file` writes a dash, which stands for the only file.
  const near = lines.filter((line) => baseName(line.name) === file || (line.name === '-' && lines.length === 1));
  const found = exact.length ? exact : near;
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const digests = new Set(found.filter((line) => algorithms[line.hex.length] === algorithm).map((line) => line.hex));
    if (digests.size > 1)
      throw new KinaError('integrity', `${where} lists ${file} with different ${algorithm} digests`, {
        details: found.map((line) => `${line.name}: ${line.hex}`),
        hint: 'Set the digest itself: checksum: { sha256: … }.',
      });
    for (const hex of digests) return { algorithm, hex };
  }
  if (found.length)
    throw new KinaError(
      'integrity',
      `${where} has only ${algorithms[found[0]!.hex.length] ?? 'unknown'} digests for ${file}`,
      {
        hint: 'kina needs SHA-256 or SHA-512. Compute the digest of a copy that you trust and set checksum: { sha256: … }.',
      },
    );
  throw new KinaError('integrity', `${where} does not list ${file}`, {
    details: lines.length ? [`it lists ${listed(lines)}`] : ['it contains no checksums'],
    hint: 'Check the checksum URL of this artifact.',
  });
}

function parseLines(text: string): Line[] {
  const lines: Line[] = [];
  for (const raw of text.split(/\r?\n/)) {
    if (raw === '-----BEGIN PGP SIGNATURE-----') break;
    const line = raw.replace(/^- /, ''); // dash-escaped text (RFC 9580, 7.2)
    const bsd = /^\s*\S+\s?\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i.exec(line);
    // A leading backslash marks escaped names, `*` a file read in binary mode (coreutils, "md5sum invocation").
    const gnu = /^\\?([0-9a-f]+)[ \t]+\*?(\S.*?)\s*$/i.exec(line);
    const [name, hex] = bsd ? [bsd[1], bsd[2]] : [gnu?.[2], gnu?.[1]];
    if (name && hex && algorithms[hex.length]) lines.push({ name: name.replace(/^\.\//, ''), hex: hex.toLowerCase() });
  }
  return lines;
}

/**
 * The strongest digest of an integrity string in the format of npm and browsers: `sha512-BASE64`, several separated by
 * spaces (Subresource Integrity, "Integrity metadata"). Undefined if none is SHA-256 or SHA-512.
 */
export function parseIntegrity(text: string): Checksum | undefined {
  const hashes = integrityHashes(text);
  for (const algorithm of ['sha512', 'sha256'] as const) {
    const found = hashes.find(({ hex }) => algorithms[hex.length] === algorithm);
    if (found) return { algorithm, hex: found.hex };
  }
  return undefined;
}

function integrityHashes(text: string): { hex: string }[] {
  return text
    .trim()
    .split(/\s+/)
    .flatMap((token) => {
      const [, name, base64] = /^(sha\d+)-([A-Za-z0-9+/]+={0,2})(?:\?.*)?$/.exec(token) ?? [];
      const hex = Buffer.from(base64 ?? '', 'base64').toString('hex');
      return name !== undefined && algorithms[hex.length] === name ? [{ hex }] : [];
    });
}

/** An npm registry's document about one version; undefined for anything else. */
function npmVersion(text: string): Line[] | undefined {
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    const { tarball, integrity } =
      (JSON.parse(text) as { dist?: { tarball?: unknown; integrity?: unknown } }).dist ?? {};
    if (typeof tarball !== 'string' || typeof integrity !== 'string') return [];
    return integrityHashes(integrity).map(({ hex }) => ({ name: baseName(tarball), hex }));
  } catch {
    return [];
  }
}

function baseName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
}

function listed(lines: readonly Line[]): string {
  const names = [...new Set(lines.map((line) => line.name))];
  return names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ');
}
