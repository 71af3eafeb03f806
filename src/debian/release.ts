/**
 * The signed index of a suite: `InRelease`. It starts a chain of SHA-256 digests: InRelease has those of the `Packages`
 * files, which have those of the packages.
 *
 * One valid signature by a key of the keyring is enough: Debian signs with the keys of two releases and of the release
 * team, and a keyring need not contain all three. An invalid signature by a known key is fatal, as in apt. Keys are
 * judged at the time of signing, so an index stays valid after its key expires; the age of the index itself is limited
 * by `Valid-Until`.
 */
import { readFile } from 'node:fs/promises';
import type { CleartextMessage, PublicKey } from 'openpgp';
import { isErrno, KinaError } from '../host/errors.ts';
import { digestOf, sha256 } from '../host/json.ts';
import type { ArchiveSpec } from './archive.ts';
import { parseStanza, required } from './deb822.ts';

/** The content of a verified InRelease. */
export interface Release {
  readonly suite: string;
  readonly codename: string;
  readonly date: Date;
  readonly validUntil: Date | undefined;
  readonly byHash: boolean;
  readonly architectures: readonly string[];
  readonly components: readonly string[];
  /** By path relative to the suite's folder: size in bytes and SHA-256 in hexadecimal. */
  readonly files: ReadonlyMap<string, { readonly size: number; readonly sha256: string }>;
  /** Digest of the InRelease document: the cache key of everything derived from it. */
  readonly digest: `sha256:${string}`;
  /** Fingerprint of the primary key of the signature, upper case. */
  readonly signedBy: string;
}

/** Tolerated clock difference before an index counts as being from the future. */
const clockTolerance = 24 * 3600 * 1000;

/** Reads a keyring, armored or binary, with one or more keys. Throws `recipe` if it has none. */
export async function readKeyring(path: string): Promise<PublicKey[]> {
  return parseKeyring(await readKeyringFile(path), path);
}

async function readKeyringFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EACCES', 'EISDIR')) throw error;
    throw new KinaError('recipe', `cannot read the keyring ${path}: ${(error as Error).message}`, {
      hint: 'Use an OpenPGP keyring with the public keys of the archive.',
    });
  }
}

async function parseKeyring(bytes: Buffer, path: string): Promise<PublicKey[]> {
  // Loaded on demand: it takes longer than everything else in an unchanged build.
  const openpgp = await import('openpgp');
  const armored = bytes.subarray(0, 200).includes('-----BEGIN PGP');
  try {
    const keys = armored
      ? await openpgp.readKeys({ armoredKeys: bytes.toString('latin1') })
      : await openpgp.readKeys({ binaryKeys: bytes });
    if (keys.length > 0) return keys;
  } catch (cause) {
    throw new KinaError('recipe', `${path} is not an OpenPGP keyring`, {
      cause,
      hint: 'Export it with `gpg --export`.',
    });
  }
  throw new KinaError('recipe', `the keyring ${path} is empty`);
}

/** A cache of verified documents. Keys are digests; a lost entry costs one verification. */
export interface VerdictCache {
  get(key: `sha256:${string}`): Promise<unknown>;
  put(key: `sha256:${string}`, value: unknown): Promise<void>;
}

/**
 * Verifies and parses an InRelease document at the time `now`. The same document with the same keyring is verified once a
 * day, often enough to notice that a key has expired.
 */
export async function verifyRelease(
  document: Buffer,
  spec: ArchiveSpec,
  now = new Date(),
  cache?: VerdictCache,
): Promise<Release> {
  const name = `InRelease of ${spec.archive} ${spec.suite}`;
  const keyring = await readKeyringFile(spec.keyring);
  const key = digestOf({
    kind: 'inrelease/1',
    document: sha256(document),
    keyring: sha256(keyring),
    day: now.toISOString().slice(0, 10),
  });
  const known = (await cache?.get(key)) as { text: string; signedBy: string } | undefined;
  const { text, signedBy } = known ?? (await verifiedText(document, keyring, spec, name, now));
  if (!known) await cache?.put(key, { text, signedBy });
  const fields = parseStanza(text.replaceAll('\r\n', '\n'), name);
  const release: Release = {
    suite: fields.get('suite') ?? '',
    codename: fields.get('codename') ?? '',
    date: parseDate(required(fields, 'Date', name), name),
    validUntil: fields.has('valid-until') ? parseDate(required(fields, 'Valid-Until', name), name) : undefined,
    byHash: fields.get('acquire-by-hash') === 'yes',
    architectures: (fields.get('architectures') ?? '').split(/\s+/),
    // Old releases call security's components `updates/main`.
    components: (fields.get('components') ?? '').split(/\s+/).map((c) => c.replace(/^updates\//, '')),
    files: parseFiles(required(fields, 'SHA256', name), name),
    digest: sha256(document),
    signedBy,
  };
  if (spec.suite !== release.suite && spec.suite !== release.codename)
    throw new KinaError(
      'integrity',
      `${name} is for the wrong suite: got ${release.suite} (${release.codename}), want ${spec.suite}`,
      {
        hint: 'The mirror is misconfigured or malicious. Use a different mirror.',
      },
    );
  checkTimes(release, spec, name, now);
  return release;
}

function checkTimes(release: Release, spec: ArchiveSpec, name: string, now: Date): void {
  if (release.date.getTime() > now.getTime() + clockTolerance)
    throw new KinaError('integrity', `${name} is from the future: ${release.date.toISOString()}`, {
      hint: `This machine's clock says ${now.toISOString()}; check the clock.`,
    });
  if (spec.checkValidUntil === false || !release.validUntil || release.validUntil >= now) return;
  throw new KinaError('integrity', `${name} expired on ${release.validUntil.toISOString()}`, {
    details: [`signed on ${release.date.toISOString()}, now is ${now.toISOString()}`],
    hint: 'The mirror is stale: use a different one. If it is frozen on purpose, set KINA_DEBIAN_CHECK_VALID_UNTIL=false.',
  });
}

async function verifiedText(
  document: Buffer,
  keyring: Buffer,
  spec: ArchiveSpec,
  name: string,
  now: Date,
): Promise<{ text: string; signedBy: string }> {
  const keys = await parseKeyring(keyring, spec.keyring);
  const openpgp = await import('openpgp');
  let message: CleartextMessage;
  try {
    message = await openpgp.readCleartextMessage({ cleartextMessage: document.toString('utf8') });
  } catch (cause) {
    throw new KinaError('integrity', `${name} is not a signed document`, {
      cause,
      hint: 'The server sent something else, perhaps a login page. Open the URL in a browser.',
    });
  }
  const { signatures } = await openpgp.verify({
    message,
    verificationKeys: keys,
    date: new Date(now.getTime() + clockTolerance),
  });
  const unknown: string[] = [];
  const failed: string[] = [];
  let signedBy: string | undefined;
  for (const signature of signatures) {
    const id = signature.keyID.toHex().toUpperCase();
    const key = keys.find((k) => k.getKeys(signature.keyID).length > 0);
    if (!key) {
      unknown.push(id);
      continue;
    }
    try {
      await signature.verified;
      signedBy ??= key.getFingerprint().toUpperCase();
    } catch (error) {
      failed.push(`key ${id} (${key.getFingerprint().toUpperCase()}): ${(error as Error).message}`);
    }
  }
  // A bad signature means that the document was changed; an expired or revoked key is only ignored.
  const forged = failed.some((line) => /Signature verification failed|digest/i.test(line));
  if (signedBy && !forged) return { text: message.getText(), signedBy };
  if (failed.length > 0)
    throw new KinaError('integrity', `bad signature on the ${name}`, {
      details: failed,
      hint: 'The index was modified, or its key was not valid at the time of signing. Use a different mirror.',
    });
  throw new KinaError('integrity', `the ${name} is signed by unknown keys: ${unknown.join(', ') || 'none'}`, {
    details: [`keyring: ${spec.keyring}`, ...keys.map((k) => `known: ${k.getFingerprint().toUpperCase()}`)],
    hint: 'Set the keyring of this archive; for a newer Debian release, update kina.',
  });
}

function parseDate(text: string, name: string): Date {
  const date = new Date(text.replace(/ UTC$/, ' GMT'));
  if (Number.isNaN(date.getTime())) throw new KinaError('integrity', `${name}: not a date: ${JSON.stringify(text)}`);
  return date;
}

function parseFiles(text: string, name: string): Release['files'] {
  const files = new Map<string, { size: number; sha256: string }>();
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const [sha256, size, path] = line.trim().split(/\s+/);
    if (!path || !/^[0-9a-f]{64}$/.test(sha256 ?? '') || !/^\d+$/.test(size ?? ''))
      throw new KinaError('integrity', `${name}: invalid line ${JSON.stringify(line)}`);
    files.set(path, { size: Number(size), sha256: sha256 as string });
  }
  return files;
}
