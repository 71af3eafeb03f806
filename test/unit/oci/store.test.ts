import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { mediaType } from '../../../src/oci/descriptor.ts';
import { temporaryName } from '../../../src/oci/store/leases.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { collect, newStore, scratch } from './fixture.ts';

const run = promisify(execFile);
const storeModule = join(import.meta.dirname, '../../../src/oci/store/store.ts');
const emptyIndex = '{"schemaVersion":2,"manifests":[]}';

/** Runs a script with `store` open in another process of the Node that runs the tests. */
function script(root: string, body: string): string[] {
  return [
    '--input-type=module',
    '-e',
    `import { Store } from ${JSON.stringify(storeModule)}; const store = await Store.open(${JSON.stringify(root)}); ${body}`,
  ];
}

describe('blobs', () => {
  test('what goes in comes out, under the digest that sha256 gives it', async () => {
    const store = await newStore();
    const written = await store.writeBytes('hello');
    expect(written).toEqual({ digest: sha256('hello'), size: 5 });
    expect(await store.has(written.digest, 5)).toBe(true);
    expect(await collect(store.open(written.digest, { start: 1, end: 3 }))).toEqual(Buffer.from('ell'));
    expect((await store.readBytes(written.digest, 5)).toString()).toBe('hello');
    await expect(store.readBytes(written.digest, 4)).rejects.toMatchObject({ code: 'archive' });
  });

  test('chunks of every size make the same blob', async () => {
    const store = await newStore();
    const bytes = Buffer.alloc(3 << 20, 'kina');
    for (const size of [4097, 1 << 20, (1 << 20) + 1, bytes.length]) {
      const pieces = (function* () {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
      })();
      const written = await store.write(asyncOf(pieces));
      expect(written).toEqual({ digest: sha256(bytes), size: bytes.length });
    }
  });

  test('umask does not show in a blob', async () => {
    const store = await newStore();
    const before = process.umask(0o077);
    const { digest } = await store.writeBytes('x');
    process.umask(before);
    expect((await stat(store.blobPath(digest))).mode & 0o777).toBe(0o444);
  });

  test.each([
    ['another digest', { digest: sha256('other') }],
    ['too long', { size: 4 }],
    ['too short', { size: 6 }],
  ])('%s than promised: an error, and nothing remains', async (_name, expected) => {
    const store = await newStore();
    await expect(store.writeBytes('hello', expected)).rejects.toMatchObject({ code: 'integrity' });
    expect(await readdir(join(store.root, 'tmp'))).toEqual([]);
    expect(await readdir(join(store.root, 'blobs/sha256'))).toEqual([]);
  });

  test('a source that fails leaves nothing', async () => {
    const store = await newStore();
    const failing = (async function* () {
      yield Buffer.from('half');
      throw new Error('connection lost');
    })();
    await expect(store.write(failing)).rejects.toThrow('connection lost');
    expect(await readdir(join(store.root, 'tmp'))).toEqual([]);
  });

  test('adopting a file moves it; a wrong one stays where it is', async () => {
    const store = await newStore();
    const file = join(store.root, 'download');
    await writeFile(file, 'hello');
    await expect(store.adopt(file, { digest: sha256('other') })).rejects.toMatchObject({ code: 'integrity' });
    expect(await readFile(file, 'utf8')).toBe('hello');
    await store.adopt(file, { digest: sha256('hello'), size: 5 });
    await expect(stat(file)).rejects.toThrow('ENOENT');
    expect(await store.has(sha256('hello'), 5)).toBe(true);
    expect((await stat(store.blobPath(sha256('hello')))).mode & 0o777).toBe(0o444);
  });
});

describe('damage', () => {
  test('a truncated blob is found by its size or its time, removed, and so made again', async () => {
    const store = await newStore();
    for (const size of [5, undefined]) {
      const { digest } = await store.writeBytes('hello');
      await spoil(store.blobPath(digest), (path) => truncate(path, 3));
      expect(await store.has(digest, size)).toBe(false);
      expect(await readdir(join(store.root, 'blobs/sha256'))).toEqual([]);
    }
  });

  test('content changed at the same size shows in the time stamp', async () => {
    const store = await newStore();
    const { digest } = await store.writeBytes('hello');
    await spoil(store.blobPath(digest), (path) => writeFile(path, 'jello'));
    expect(await store.has(digest, 5)).toBe(false);
  });

  test('a blob that was only touched is hashed once and believed again', async () => {
    const store = await newStore();
    const { digest } = await store.writeBytes('hello');
    await utimes(store.blobPath(digest), new Date(), new Date());
    expect(await store.has(digest, 5)).toBe(true);
    expect((await stat(store.blobPath(digest))).mtimeMs).toBe(1000);
  });

  test('a flipped bit with the old time stamp is found when the bytes leave', async () => {
    const store = await newStore();
    const { digest } = await store.writeBytes('hello');
    await spoil(store.blobPath(digest), async (path) => {
      await writeFile(path, 'jello');
      await utimes(path, 1, 1);
    });
    await expect(collect(store.verified(digest, 5))).rejects.toMatchObject({ code: 'store' });
    expect(await store.has(digest, 5)).toBe(false);
    await expect(collect(store.verified(digest, 5))).rejects.toThrow('is not in the store');
  });
});

describe('names', () => {
  test('tag, resolve, retag, untag; index.json is an OCI layout all the time', async () => {
    const store = await newStore();
    const one = { mediaType: mediaType.index, ...(await store.writeBytes(emptyIndex)) };
    const two = { mediaType: mediaType.index, ...(await store.writeBytes(`${emptyIndex} `)) };
    await store.tag('localhost/a:1', one);
    await store.tag('localhost/b:1', one);
    await store.tag('localhost/a:1', two);
    expect(await store.resolve('localhost/a:1')).toEqual(two);
    expect((await store.images()).map((image) => image.ref)).toEqual(['localhost/a:1', 'localhost/b:1']);
    expect(await store.untag('localhost/b:1')).toBe(true);
    expect(await store.untag('localhost/b:1')).toBe(false);
    const index = JSON.parse(await readFile(join(store.root, 'index.json'), 'utf8'));
    expect(index.manifests).toEqual([
      { ...two, annotations: { 'org.opencontainers.image.ref.name': 'localhost/a:1' } },
    ]);
  });

  test('what is not in the store gets no name', async () => {
    const store = await newStore();
    const missing = { mediaType: mediaType.index, digest: sha256('?'), size: 1 };
    await expect(store.tag('x', missing)).rejects.toMatchObject({ code: 'store' });
  });

  test('three processes naming at once lose nothing', async () => {
    const store = await newStore();
    const { digest, size } = await store.writeBytes(emptyIndex);
    const body = (p: number) =>
      `for (let i = 0; i < 8; i++) await store.tag('p${p}:' + i, ${JSON.stringify({ mediaType: mediaType.index, digest, size })});`;
    await Promise.all([1, 2, 3].map((p) => run(process.execPath, script(store.root, body(p)))));
    const index = JSON.parse(await readFile(join(store.root, 'index.json'), 'utf8'));
    expect(index.manifests).toHaveLength(24);
  });

  test('a process that died between name and index is made good by the next one', async () => {
    const store = await newStore();
    await store.tag('x', { mediaType: mediaType.index, ...(await store.writeBytes(emptyIndex)) });
    await writeFile(join(store.root, 'index.json'), '{"schemaVersion":2,"mani');
    await Store.open(store.root);
    expect(JSON.parse(await readFile(join(store.root, 'index.json'), 'utf8')).manifests).toHaveLength(1);
  });
});

describe('the folder', () => {
  test('files of killed processes go at the next open; those of living ones stay', async () => {
    const store = await newStore();
    const child = spawn(process.execPath, [
      ...script(
        store.root,
        `await store.write((async function* () { for (;;) { yield Buffer.alloc(1 << 20); console.log('x'); await new Promise(r => setTimeout(r, 20)); } })());`,
      ),
    ]);
    await once(child.stdout, 'data');
    await Store.open(store.root);
    expect(await readdir(join(store.root, 'tmp'))).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await writeFile(join(store.root, 'tmp', temporaryName()), 'ours');
    await Store.open(store.root);
    expect(await readdir(join(store.root, 'tmp'))).toHaveLength(1);
    expect(await readdir(join(store.root, 'blobs/sha256'))).toEqual([]);
  });

  test('a path that is not a folder, or cannot be written, is reported', async () => {
    const file = join(await scratch(), 'file');
    await writeFile(file, '');
    await expect(Store.open(file)).rejects.toMatchObject({
      code: 'store',
      hint: expect.stringContaining('KINA_CACHE_DIR'),
    });
    await expect(Store.open(join(file, 'below'))).rejects.toMatchObject({ code: 'store' });
    if (process.getuid?.() === 0) return; // root may write anywhere
    const locked = join(await scratch(), 'locked');
    await mkdir(locked, { mode: 0o555 });
    await expect(Store.open(join(locked, 'store'))).rejects.toMatchObject({ code: 'store' });
  });

  test('records: any key is a safe file name, and what cannot be read is absent', async () => {
    const store = await newStore();
    for (const key of ['plain', 'Upper', 'upper', '../../etc/passwd', 'sha256:ab', 'x'.repeat(300)])
      await store.putRecord('layer', key, { key });
    for (const key of ['plain', 'Upper', 'upper', '../../etc/passwd', 'sha256:ab', 'x'.repeat(300)])
      expect(await store.getRecord('layer', key)).toEqual({ key });
    const names = (await readdir(join(store.root, 'records/layer'))).map((name) => name.toLowerCase());
    expect(new Set(names).size).toBe(6);
    await writeFile(join(store.root, 'records/layer/plain.json'), '{"ke');
    expect(await store.getRecord('layer', 'plain')).toBeUndefined();
    expect(await store.getRecord('other', 'plain')).toBeUndefined();
  });
});

async function spoil(path: string, how: (path: string) => Promise<void>): Promise<void> {
  await chmod(path, 0o644);
  await how(path);
  await chmod(path, 0o444);
}

async function* asyncOf<T>(source: Iterable<T>): AsyncGenerator<T> {
  yield* source;
}
