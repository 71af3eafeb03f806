/** `npm` steps: what of a package-lock.json is needed and where it lies, and what may not get into an image. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fetcher } from '../../../src/artifacts/fetch.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import { npmKind } from '../../../src/layers/kinds/npm.ts';
import { neededPackages, parsePackageLock } from '../../../src/layers/npm/lockfile.ts';
import type { Pins } from '../../../src/layers/step.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { readAll } from '../../../src/tree/entry.ts';
import { Unpacker } from '../../../src/tree/unpack.ts';
import { sendFile, startServer, type TestServer } from '../../support/server.ts';
import { parseStep, resolveContext, treeContext } from '../../support/steps.ts';

const integrity = 'sha512-AAAA';
const lockOf = (packages: object): string => JSON.stringify({ lockfileVersion: 3, packages });

function needed(packages: object, architecture: 'amd64' | 'arm64' = 'arm64', exclude: string[] = []) {
  return neededPackages(parsePackageLock(lockOf(packages), 'LOCK'), 'LOCK', {
    architecture,
    exclude,
    registry: 'https://npm.example.org/',
  });
}
const places = (...args: Parameters<typeof needed>): string[] => needed(...args).map((one) => one.place);
function problems(packages: object): string {
  try {
    needed(packages);
  } catch (error) {
    expect(error).toMatchObject({ code: 'recipe' });
    return (error as KinaError).details.join('\n');
  }
  return '';
}

describe('what is needed', () => {
  test('what the root needs and no tools; the nearest version wins, as Node.js looks it up', () => {
    const of = (version: string, dependencies = {}) => ({ version, integrity, dependencies });
    const packages = {
      '': { dependencies: { a: '1' }, devDependencies: { tool: '1' } },
      'node_modules/a': of('1.0.0', { '@s/b': '2', c: '1' }),
      'node_modules/@s/b': of('1.0.0'),
      'node_modules/a/node_modules/@s/b': of('2.0.0', { c: '1' }),
      'node_modules/c': of('1.0.0'),
      'node_modules/tool': { ...of('1.0.0', { c: '1' }), dev: true },
    };
    expect(places(packages)).toEqual(['node_modules/a', 'node_modules/a/node_modules/@s/b', 'node_modules/c']);
    expect(needed(packages)[1]).toMatchObject({
      name: '@s/b',
      version: '2.0.0',
      archive: { url: 'https://npm.example.org/@s/b/-/b-2.0.0.tgz' },
    });
    expect(places(packages, 'arm64', ['@s/b'])).toEqual(['node_modules/a', 'node_modules/c']);
  });

  test('native parts for the platform alone, without what only those of other platforms need', () => {
    const native = (os: string, cpu: string, more = {}) => ({
      version: '1.0.0',
      integrity,
      os: [os],
      cpu: [cpu],
      ...more,
    });
    const optionalDependencies = { arm: '1', x64: '1', musl: '1', mac: '1', 'not-windows': '1', gone: '1' };
    const packages = {
      '': { dependencies: { a: '1' } },
      'node_modules/a': { version: '1.0.0', integrity, optionalDependencies },
      'node_modules/arm': native('linux', 'arm64', { libc: ['glibc'] }),
      'node_modules/x64': native('linux', 'x64'),
      'node_modules/musl': native('linux', 'arm64', { libc: 'musl' }),
      'node_modules/mac': native('darwin', 'arm64', { dependencies: { 'only-mac': '1' } }),
      'node_modules/only-mac': { version: '1.0.0', integrity },
      'node_modules/not-windows': native('!win32', 'any'),
    };
    expect(places(packages)).toEqual(['node_modules/a', 'node_modules/arm', 'node_modules/not-windows']);
    expect(places(packages, 'amd64')).toEqual(['node_modules/a', 'node_modules/not-windows', 'node_modules/x64']);
  });

  test('peers; not those that are optional and absent', () => {
    const peer = {
      version: '1.0.0',
      integrity,
      peerDependencies: { react: '1', vue: '1' },
      peerDependenciesMeta: { vue: { optional: true } },
    };
    const packages = { '': { dependencies: { p: '1' } }, 'node_modules/p': peer };
    expect(problems(packages)).toBe('node_modules/p needs react, which is not in the file');
    expect(places({ ...packages, 'node_modules/react': { version: '1.0.0', integrity } })).toHaveLength(2);
  });

  test('an alias is fetched under its own name, a bundled package with the one above it', () => {
    const found = needed({
      '': { dependencies: { alias: 'npm:real@1' } },
      'node_modules/alias': { name: 'real', version: '1.0.0', integrity, dependencies: { inner: '1' } },
      'node_modules/alias/node_modules/inner': { version: '1.0.0', inBundle: true },
    });
    expect(found.map((one) => one.archive?.url)).toEqual(['https://npm.example.org/real/-/real-1.0.0.tgz', undefined]);
  });

  test('what no checksum vouches for, all at once', () => {
    const found = problems({
      '': { dependencies: { link: '1', git: '1', bare: '1', mac: '1', gone: '1' } },
      'node_modules/link': { link: true, resolved: '../link' },
      'node_modules/git': { version: '1.0.0', integrity, resolved: 'git+ssh://git@example.com/a.git#1' },
      'node_modules/bare': { version: '1.0.0' },
      'node_modules/mac': { version: '1.0.0', integrity, os: ['darwin'] },
    });
    expect(found.split('\n')).toEqual([
      'node_modules/link comes from ../link',
      'node_modules/git comes from git+ssh://git@example.com/a.git#1',
      'node_modules/bare has no integrity',
      'node_modules/mac is not for linux/arm64 with glibc',
      'the root needs gone, which is not in the file',
    ]);
  });

  test('a file of npm 6, and one that is not a lock file', () => {
    for (const text of ['{"lockfileVersion":1,"dependencies":{}}', '[]', '{'])
      expect(() => parsePackageLock(text, 'LOCK')).toThrow(/^LOCK is not (JSON|a package-lock\.json)/);
  });
});

describe('the step', () => {
  let folder: string;
  let server: TestServer;
  let store: Store;
  let transport: Transport;
  const archives = new Map<string, Buffer>();
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kina-npm-'));
    archives.clear();
    server = await startServer((request, response) => {
      const found = archives.get(request.url ?? '');
      if (found) sendFile(request, response, found);
      else response.writeHead(404).end();
    });
    store = await Store.open(join(folder, 'store'));
    transport = new Transport({ mirrors: [server.url], retries: 0 });
  });
  afterEach(async () => {
    await transport.close();
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  /** A package as the registry has it; answers what a lock file says about it. */
  async function publish(name: string, files: Record<string, string>, top = 'package') {
    const archive = pack();
    for (const [path, text] of Object.entries(files))
      archive.entry({ name: `${top}/${path}`, mode: path.startsWith('bin/') ? 0o775 : 0o600 }, text);
    archive.entry({ name: `${top}/link`, type: 'symlink', linkname: '/etc/passwd' });
    archive.finalize();
    const parts: Buffer[] = [];
    for await (const part of archive) parts.push(part as Buffer);
    const data = gzipSync(Buffer.concat(parts));
    archives.set(`/npm.example.org/${name}/-/${name}-1.0.0.tgz`, data);
    return { version: '1.0.0', integrity: `sha512-${createHash('sha512').update(data).digest('base64')}` };
  }
  const write = (packages: object): void => writeFileSync(join(folder, 'lock.json'), lockOf(packages));
  const step = (more = {}) =>
    parseStep(npmKind, { lockfile: 'lock.json', registry: 'https://npm.example.org', into: 'app', ...more });
  const resolve = async (body = step()): Promise<Pins> => {
    const checksums = { transport, store, reporter: silent };
    const context = resolveContext({ platform: platformOf('amd64'), recipeFolder: folder, checksums });
    return (await body.resolve(context)).pins;
  };
  async function files(pins: Pins, body = step()): Promise<Record<string, string>> {
    const fetcher = new Fetcher({ store, transport, reporter: silent });
    if (body.derived) throw new Error('npm is a plain kind');
    const used = treeContext({
      platform: platformOf('amd64'),
      recipeFolder: folder,
      reporter: silent,
      unpacker: new Unpacker(join(folder, 'unpacked')),
      owner: 'app/npm',
      fetcher,
    });
    const { tree } = await body.tree(pins, used);
    const found: Record<string, string> = {};
    for (const entry of tree.sorted())
      found[`${entry.path} ${entry.mode.toString(8)}`] =
        entry.type === 'file' ? (await readAll(entry.content)).toString() : entry.type;
    return found;
  }

  test('files as npm lays them out: without the first folder and without links, readable and executable as needed', async () => {
    const a = await publish('a', { 'package.json': '{}', 'bin/a.js': 'run', 'index.d.ts': 'types' });
    // Packages by hand call the first folder as they like.
    const b = await publish('b', { 'index.js': 'b' }, 'b-1.0.0');
    write({
      '': { dependencies: { a: '1' } },
      'node_modules/a': { ...a, dependencies: { b: '1' } },
      'node_modules/a/node_modules/b': b,
    });
    expect(await files(await resolve(), step({ prune: ['**/*.d.ts'] }))).toEqual({
      'app/node_modules/a/package.json 644': '{}',
      'app/node_modules/a/bin/a.js 755': 'run',
      'app/node_modules/a/node_modules/b/index.js 644': 'b',
    });
  });

  test('every archive is pinned by its own SHA-256, and asked for once in a lifetime', async () => {
    write({ '': { dependencies: { a: '1' } }, 'node_modules/a': await publish('a', { x: 'x' }) });
    const url = 'https://npm.example.org/a/-/a-1.0.0.tgz';
    const sha256 = createHash('sha256')
      .update([...archives.values()][0]!)
      .digest('hex');
    const pins = await resolve();
    expect(pins.artifacts).toMatchObject([
      { name: 'a', version: '1.0.0', url, digest: `sha256:${sha256}`, verifiedBy: 'lock.json' },
    ]);
    const asked = server.requests.length;
    expect(await resolve()).toEqual(pins);
    await files(pins);
    expect(server.requests.length).toBe(asked);
  });

  test('another archive under the same name is refused', async () => {
    const a = await publish('a', { x: 'x' });
    await publish('a', { x: 'evil' });
    write({ '': { dependencies: { a: '1' } }, 'node_modules/a': a });
    const error = await resolve().catch((e: KinaError) => e);
    expect(error).toMatchObject({ code: 'integrity' });
    expect((error as KinaError).details.join('\n')).toContain('by lock.json');
  });

  test('SHA-1 alone vouches for nothing', async () => {
    await publish('a', { x: 'x' });
    const weak = { version: '1.0.0', integrity: `sha1-${Buffer.alloc(20).toString('base64')}` };
    write({ '': { dependencies: { a: '1' } }, 'node_modules/a': weak });
    await expect(resolve()).rejects.toThrow('lock.json has no SHA-512 or SHA-256 for it');
  });

  test('a package that runs something at installation is refused until the recipe does without', async () => {
    const a = { ...(await publish('a', { x: 'x' })), hasInstallScript: true };
    write({ '': { dependencies: { a: '1' } }, 'node_modules/a': a });
    await expect(resolve()).rejects.toMatchObject({ code: 'recipe', details: ['node_modules/a 1.0.0'] });
    expect((await resolve(step({ withoutScripts: ['a'] }))).artifacts).toHaveLength(1);
  });

  test('a lock notices other packages, and not another tool for development', async () => {
    const a = await publish('a', { x: 'x' });
    const packages = { '': { dependencies: { a: '1' } }, 'node_modules/a': a };
    write(packages);
    const pins = await resolve();
    write({ ...packages, 'node_modules/tool': { version: '2.0.0', integrity, dev: true } });
    await step().checkLocal(pins, folder);
    write({ ...packages, 'node_modules/a': { ...a, version: '1.0.1' } });
    await expect(step().checkLocal(pins, folder)).rejects.toMatchObject({ code: 'lock' });
  });
});
