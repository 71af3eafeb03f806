/**
 * The result of `update-ca-certificates` for `/usr/share/ca-certificates`: the configuration, the bundle, one link per
 * certificate, and OpenSSL's links by subject hash.
 */
import { createHash } from 'node:crypto';
import { KinaError } from '../host/errors.ts';
import { bytesContent, type Entry, readAll } from '../tree/entry.ts';
import { comparePaths, file, symlink, type Tree } from '../tree/tree.ts';

const folder = 'usr/share/ca-certificates/';
const local = 'usr/local/share/ca-certificates/';

/** All entries; none if the tree has no certificates. */
export async function certificateEntries(tree: Tree, owner: string): Promise<Entry[]> {
  const paths = tree
    .sorted()
    .filter((entry) => entry.path.endsWith('.crt') && (entry.path.startsWith(folder) || entry.path.startsWith(local)))
    .filter((entry) => entry.type !== 'directory')
    .map((entry) => entry.path);
  // Debian's certificates first, then local ones, as in the script; each group in byte order.
  paths.sort((a, b) => Number(a.startsWith(local)) - Number(b.startsWith(local)) || comparePaths(a, b));
  if (paths.length === 0) return [];

  const entries: Entry[] = [];
  const bundle: string[] = [];
  const named: { name: string; hash: string }[] = [];
  for (const path of paths) {
    const found = tree.file(path);
    if (!found) throw new KinaError('debian', `/${path} is not a file`);
    const pem = (await readAll(found.content, 1 << 20)).toString('latin1');
    bundle.push(pem.endsWith('\n') ? pem : `${pem}\n`);
    const name = `${path
      .slice(path.lastIndexOf('/') + 1, -4)
      .replace(/[ ,]/g, '_')
      .replace(/[()]/g, '=')}.pem`;
    entries.push(symlink(`etc/ssl/certs/${name}`, `/${path}`, owner));
    named.push({ name, hash: subjectHash(derOf(pem, path)) });
  }
  const used = new Map<string, number>();
  for (const { name, hash } of named.sort((a, b) => comparePaths(a.name, b.name))) {
    const n = used.get(hash) ?? 0;
    used.set(hash, n + 1);
    entries.push(symlink(`etc/ssl/certs/${hash}.${n}`, name, owner));
  }
  const list = paths.filter((path) => path.startsWith(folder)).map((path) => path.slice(folder.length));
  entries.push(file('etc/ssl/certs/ca-certificates.crt', bytesContent(Buffer.from(bundle.join(''), 'latin1')), owner));
  entries.push(file('etc/ca-certificates.conf', bytesContent(`${conf}${list.map((l) => `${l}\n`).join('')}`), owner));
  return entries;
}

const conf = `# Certificates that update-ca-certificates(8) installs into /etc/ssl/certs, relative to
# /usr/share/ca-certificates. A leading "!" leaves one out.
#
`;

function derOf(pem: string, path: string): Buffer {
  const match = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(pem);
  if (!match) throw new KinaError('debian', `/${path} is not a PEM certificate`);
  return Buffer.from(match[1] as string, 'base64');
}

/**
 * `openssl x509 -subject_hash`: SHA-1 over the canonical encoding of the subject (crypto/x509/x_name.c): all strings are
 * UTF-8, ASCII letters in lower case, white space trimmed and collapsed; the sets are concatenated without the enclosing
 * sequence. The first four bytes, little-endian.
 */
export function subjectHash(certificate: Buffer): string {
  const canonical = Buffer.concat(elements(subjectOf(certificate)).map(canonicalSet));
  return createHash('sha1').update(canonical).digest().readUInt32LE(0).toString(16).padStart(8, '0');
}

interface Element {
  readonly tag: number;
  readonly body: Buffer;
}

/** The elements of a constructed DER value, in order. */
function elements(body: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < body.length; ) {
    const tag = body[at] as number;
    let length = body[at + 1] ?? 0;
    let start = at + 2;
    if (length > 0x80) {
      const bytes = length & 0x7f;
      if (bytes > 4) throw malformed();
      length = body.readUIntBE(start, bytes);
      start += bytes;
    }
    if (start + length > body.length) throw malformed();
    found.push({ tag, body: body.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** Certificate → TBSCertificate → [version], serial, signature, issuer, validity, subject (RFC 5280, 4.1). */
function subjectOf(certificate: Buffer): Buffer {
  const tbs = elements(elements(certificate)[0]?.body ?? Buffer.alloc(0))[0];
  const fields = elements(tbs?.body ?? Buffer.alloc(0));
  const subject = fields[fields[0]?.tag === 0xa0 ? 5 : 4];
  if (subject?.tag !== 0x30) throw malformed();
  return subject.body;
}

function canonicalSet(set: Element): Buffer {
  const attributes = elements(set.body).map((attribute) => {
    const [oid, value] = elements(attribute.body);
    if (!oid || !value) throw malformed();
    return der(0x30, Buffer.concat([der(oid.tag, oid.body), canonicalString(value)]));
  });
  return der(set.tag, Buffer.concat(attributes.sort(Buffer.compare)));
}

function canonicalString(value: Element): Buffer {
  const text = decode(value);
  if (text === undefined) return der(value.tag, value.body);
  const folded = text
    .replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '')
    .replace(/[ \t\n\v\f\r]+/g, ' ')
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return der(0x0c, Buffer.from(folded, 'utf8'));
}

function decode({ tag, body }: Element): string | undefined {
  switch (tag) {
    case 0x0c: // UTF8String
      return body.toString('utf8');
    case 0x13: // PrintableString
    case 0x14: // T61String, which OpenSSL reads as Latin-1
    case 0x16: // IA5String
    case 0x1a: // VisibleString
      return body.toString('latin1');
    case 0x1e: // BMPString: UTF-16, big-endian
      return Buffer.from(body).swap16().toString('utf16le');
    default:
      return undefined;
  }
}

function der(tag: number, body: Buffer): Buffer {
  const { length } = body;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), body]);
}

function malformed(): KinaError {
  return new KinaError('debian', 'a CA certificate is not valid DER');
}
