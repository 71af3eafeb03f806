/**
 * A tiny Debian archive with its own key: signed indexes of any date, and packages whose members a test chooses, also
 * such that no tool would write. Served over HTTP on loopback; kina reaches it with `--debian-mirror`.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import * as openpgp from 'openpgp';
import { type Header, pack } from 'tar-stream';
import { startServer, type TestServer } from './server.ts';

export type Member = Partial<Header> & { readonly name: string; readonly data?: string };

export interface IndexOptions {
  readonly date: Date;
  readonly validUntil?: Date;
  /** Signs in the archive's place. */
  readonly key?: openpgp.PrivateKey;
  /** Changes the document after it was signed. */
  readonly forge?: (text: string) => string;
}

export interface DebianArchive {
  readonly server: TestServer;
  /** Armored public key: what a recipe names as keyring. */
  readonly keyring: string;
  /** The suite `stable` from now on: its index, and one package `tiny` with these members. */
  publish(index: IndexOptions, members?: readonly Member[]): Promise<void>;
}

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

export async function newKey(): Promise<openpgp.PrivateKey> {
  const made = await openpgp.generateKey({
    userIDs: [{ name: 'archive' }],
    format: 'object',
    date: new Date('2020-01-01'),
  });
  return made.privateKey;
}

/** A tar with just these members, in this order. */
export async function tarOf(members: readonly Member[]): Promise<Buffer> {
  const tar = pack();
  for (const { data = '', ...header } of members) {
    const full = { mode: 0o644, mtime: new Date(0), ...header };
    if ((full.type ?? 'file') === 'file') tar.entry(full, data);
    else tar.entry(full);
  }
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** The members of a .deb (deb(5)) in the form of ar(5). */
function arOf(members: Readonly<Record<string, Buffer>>): Buffer {
  const parts: Buffer[] = [Buffer.from('!<arch>\n')];
  for (const [name, data] of Object.entries(members)) {
    const head = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}`;
    parts.push(Buffer.from(`${head}${String(data.length).padEnd(10)}\`\n`), data);
    if (data.length % 2) parts.push(Buffer.from('\n'));
  }
  return Buffer.concat(parts);
}

async function tinyPackage(members: readonly Member[]): Promise<Buffer> {
  const control = 'Package: tiny\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: x <x@y>\nDescription: x\n';
  return arOf({
    'debian-binary': Buffer.from('2.0\n'),
    'control.tar.gz': gzipSync(await tarOf([{ name: './control', data: control }])),
    'data.tar.gz': gzipSync(await tarOf(members)),
  });
}

export async function startDebianArchive(): Promise<DebianArchive> {
  const key = await newKey();
  const files = new Map<string, Buffer>();
  const server = await startServer((request, response) => {
    const data = files.get(request.url ?? '');
    if (!data) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': data.length });
    response.end(request.method === 'HEAD' ? undefined : data);
  });
  return {
    server,
    keyring: key.toPublic().armor(),
    async publish({ date, validUntil, key: other, forge }, members = [{ name: './usr/share/tiny', data: 'x' }]) {
      const deb = await tinyPackage(members);
      const filename = 'pool/main/t/tiny/tiny_1.0-1_amd64.deb';
      const packages = Buffer.from(
        `Package: tiny\nVersion: 1.0-1\nArchitecture: amd64\nFilename: ${filename}\nSize: ${deb.length}\nSHA256: ${sha256(deb)}\n\n`,
      );
      const packed = gzipSync(packages);
      const index = 'main/binary-amd64/Packages';
      const text = [
        'Suite: stable',
        'Codename: tiny',
        `Date: ${date.toUTCString().replace('GMT', 'UTC')}`,
        ...(validUntil ? [`Valid-Until: ${validUntil.toUTCString().replace('GMT', 'UTC')}`] : []),
        'Architectures: amd64',
        'Components: main',
        'SHA256:',
        ` ${sha256(packages)} ${packages.length} ${index}`,
        ` ${sha256(packed)} ${packed.length} ${index}.gz`,
        '',
      ].join('\n');
      const message = await openpgp.createCleartextMessage({ text });
      // An index may name a future date; a signature from the future would be found before that.
      const signedOn = new Date(Math.min(date.getTime(), Date.now()));
      const signed = (await openpgp.sign({ message, signingKeys: other ?? key, date: signedOn })) as string;
      files.set('/dists/stable/InRelease', Buffer.from(forge ? forge(signed) : signed));
      files.set(`/dists/stable/${index}.gz`, packed);
      files.set(`/${filename}`, deb);
    },
  };
}
