/**
 * The outputs of a layer's steps as a document, for machines that have the layer's tar but not the artifacts.
 *
 * A layer is a part of the merged tree of all steps, so its tar is not the output of its steps: another layer may have replaced
 * a file, or decided the attributes of a directory. Therefore the document has the steps' own trees, entry by entry, with owners,
 * packages and accounts. Merged with the trees of any other steps, they give the same image as the artifacts do.
 *
 * Bytes are named by their SHA-256 and found in the tar. The few that another layer has are in the document. The reader hashes
 * every file of the tar, and rejects the document when a digest does not match.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { z } from 'zod';
import type { InstalledPackage } from '../debian/deb.ts';
import { KinaError } from '../host/errors.ts';
import { digestOf, sha256 } from '../host/json.ts';
import { bytesContent, type Content, type Entry, readContent } from '../tree/entry.ts';
import { readTar } from '../tree/tar-read.ts';
import { canonicalPath, Tree } from '../tree/tree.ts';
import type { Unpacker } from '../tree/unpack.ts';
import type { StepResult } from './step.ts';

/** Decompressed. The Debian base of a node has 4 MB; a larger one means that other layers replaced most files. */
export const maxOutputBytes = 32 << 20;

const path = z.string().refine((text) => text !== '' && safe(text), 'not a canonical path');
const id = z.int().min(0).max(0xffff_fffe);
const base64 = z.string().transform((text) => Buffer.from(text, 'base64'));
const common = {
  path,
  mode: z.int().min(0).max(0o7777),
  uid: id,
  gid: id,
  owner: z.string(),
  xattrs: z.array(z.tuple([z.string(), base64])).optional(),
};
const entrySchema = z.discriminatedUnion('type', [
  z.strictObject({ ...common, type: z.literal('directory') }),
  z.strictObject({ ...common, type: z.literal('symlink'), target: z.string() }),
  z.strictObject({ ...common, type: z.literal('hardlink'), target: path }),
  z.strictObject({ ...common, type: z.literal('file'), sha256: z.string(), size: z.int().min(0) }),
]);
const packageSchema = z.strictObject({
  name: z.string(),
  version: z.string(),
  architecture: z.string(),
  multiArch: z.string(),
  control: z.array(z.tuple([z.string(), z.string()])),
  fields: z.array(z.tuple([z.string(), z.string()])),
  members: z.array(z.tuple([z.string(), base64])),
  paths: z.array(z.string()),
  conffiles: z.array(z.tuple([z.string(), z.string()])),
});
const text = z.string().optional();
const accountsSchema = z.strictObject({
  users: z.array(
    z.strictObject({
      name: z.string(),
      uid: id.optional(),
      group: z.union([id, z.string()]).optional(),
      gecos: text,
      home: text,
      shell: text,
      password: text,
      locked: z.boolean().optional(),
    }),
  ),
  groups: z.array(z.strictObject({ name: z.string(), gid: id.optional() })),
  members: z.array(z.strictObject({ user: z.string(), group: z.string() })),
});
const documentSchema = z.strictObject({
  version: z.literal(1),
  steps: z.array(
    z.strictObject({
      id: z.string(),
      entries: z.array(entrySchema),
      packages: z.array(packageSchema).optional(),
      accounts: accountsSchema.optional(),
      prune: z.array(z.strictObject({ action: z.enum(['exclude', 'include']), pattern: z.string() })).optional(),
    }),
  ),
  /** Contents that are not in the tar. */
  contents: z.array(base64),
});
type SavedDocument = z.input<typeof documentSchema>;
type SavedEntry = z.input<typeof entrySchema>;

/** Results of steps, by step id. */
export type StepOutputs = ReadonlyMap<string, StepResult>;

/** The document, compressed; undefined when it would exceed `maxOutputBytes`. `tar` is the layer's file. */
export async function describeOutputs(outputs: StepOutputs, tar: string): Promise<Buffer | undefined> {
  const inTar = await digestsOf(tar);
  const contents = new Map<string, Buffer>();
  let inside = 0;
  const digestFor = async (content: Content): Promise<string> => {
    if (inTar.has(content.key)) return content.key;
    // Its key may not be a digest, or its bytes may be in another layer.
    const hash = createHash('sha256');
    const parts: Buffer[] = [];
    for await (const chunk of readContent(content)) {
      hash.update(chunk);
      if (content.size <= maxOutputBytes) parts.push(chunk);
    }
    const digest = `sha256:${hash.digest('hex')}`;
    if (!inTar.has(digest) && !contents.has(digest)) {
      contents.set(digest, Buffer.concat(parts));
      inside += content.size;
    }
    return digest;
  };
  const saved = async (entry: Entry): Promise<SavedEntry> => {
    const { xattrs, ...rest } = entry;
    const attributes = xattrs ? { xattrs: [...xattrs].map(([k, v]) => [k, text64(v)] as [string, string]) } : {};
    if (rest.type !== 'file') return { ...rest, ...attributes };
    const { content, ...file } = rest;
    return { ...file, ...attributes, sha256: await digestFor(content), size: content.size };
  };
  const steps: SavedDocument['steps'] = [];
  for (const [step, { tree, packages, accounts, prune }] of outputs) {
    const entries: SavedEntry[] = [];
    for (const entry of tree.sorted()) entries.push(await saved(entry));
    steps.push({
      id: step,
      entries,
      ...(packages ? { packages: packages.map(savedPackage) } : {}),
      ...(accounts ? { accounts: accounts as unknown as z.input<typeof accountsSchema> } : {}),
      ...(prune ? { prune: [...prune] } : {}),
    });
  }
  if (inside > maxOutputBytes) return undefined;
  const document: SavedDocument = { version: 1, steps, contents: [...contents.values()].map(text64) };
  const bytes = Buffer.from(JSON.stringify(document));
  return bytes.length > maxOutputBytes ? undefined : zstdCompressSync(bytes);
}

/**
 * Reads the outputs. `tar` is the layer's file; `key` names its bytes, which the caller has verified. Files are hashed while it
 * is unpacked. `from` names the document in errors: `archive` when it is malformed, `integrity` when it does not match the tar.
 */
export async function restoreOutputs(
  compressed: Buffer,
  { tar, key, unpacker }: { readonly tar: string; readonly key: string; readonly unpacker: Unpacker },
  from: string,
): Promise<StepOutputs> {
  const document = parse(compressed, from);
  const contents = new Map<string, Content>(document.contents.map((bytes) => [sha256(bytes), bytesContent(bytes)]));
  for (const entry of await unpacker.unpack(digestOf([key, 'layer']).slice(7), { owner: from, file: tar }))
    if (entry.type === 'file') contents.set(entry.content.key, entry.content);
  const restored = (entry: z.output<typeof entrySchema>): Entry => {
    const { xattrs, ...rest } = entry;
    const attributes = xattrs ? { xattrs: new Map<string, Uint8Array>(xattrs) } : {};
    if (rest.type !== 'file') return { ...rest, ...attributes };
    const { sha256: digest, size, ...file } = rest;
    const content = contents.get(digest);
    if (content?.size !== size)
      throw new KinaError('integrity', `${from} names bytes of /${entry.path} that are not in the layer`);
    return { ...file, ...attributes, content };
  };
  return new Map(
    document.steps.map(({ id: step, entries, packages, accounts, prune }): [string, StepResult] => {
      const tree = new Tree();
      for (const entry of entries) tree.add(restored(entry));
      return [
        step,
        {
          tree,
          ...(packages ? { packages: packages.map(restoredPackage) } : {}),
          ...(accounts ? { accounts } : {}),
          ...(prune ? { prune } : {}),
        },
      ];
    }),
  );
}

function parse(compressed: Buffer, from: string): z.output<typeof documentSchema> {
  let value: unknown;
  try {
    value = JSON.parse(zstdDecompressSync(compressed, { maxOutputLength: maxOutputBytes }).toString('utf8'));
  } catch (error) {
    throw new KinaError('archive', `${from} cannot be read`, { cause: error });
  }
  const parsed = documentSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new KinaError('archive', `${from} was not written by this version of kina`, {
    details: [`${issue?.path.join('.')}: ${issue?.message}`],
  });
}

/** The SHA-256 of every file in an uncompressed tar. */
async function digestsOf(tar: string): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const member of readTar(createReadStream(tar, { highWaterMark: 1 << 20 }), tar)) {
    if (member.type !== 'file') continue;
    const hash = createHash('sha256');
    for await (const chunk of member.body) hash.update(chunk);
    found.add(`sha256:${hash.digest('hex')}`);
  }
  return found;
}

function savedPackage({ control, members, conffiles, ...rest }: InstalledPackage): z.input<typeof packageSchema> {
  return {
    ...rest,
    fields: rest.fields.map(([name, value]) => [name, value]),
    paths: [...rest.paths],
    control: [...control],
    members: [...members].map(([name, bytes]) => [name, text64(bytes)]),
    conffiles: [...conffiles],
  };
}

function restoredPackage(saved: z.output<typeof packageSchema>): InstalledPackage {
  const { control, members, conffiles } = saved;
  return { ...saved, control: new Map(control), members: new Map(members), conffiles: new Map(conffiles) };
}

function text64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function safe(text: string): boolean {
  try {
    return canonicalPath(text, '') === text;
  } catch {
    return false;
  }
}
