/**
 * Downloads and images made by an attacker, end to end: each is named in a recipe as any other and has the checksum that
 * the recipe wants, so that nothing but the reader stands in the way. Nothing is written beside the store, no image is
 * named, and the error says which download and why.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { type Member, tarOf } from '../../support/debian-archive.ts';
import { smallRecipe } from '../../support/kina.ts';
import { startServer, type TestServer } from '../../support/server.ts';

const files = new Map<string, Buffer>();
let server: TestServer;
let workshop: Workshop;
let folder: string;
beforeAll(async () => {
  server = await startServer((request, response) => {
    if (request.url === '/dl.k8s.io/release/stable.txt') {
      // A marker without an end.
      const more = () => {
        while (response.write('v1.34.2'.repeat(1000)));
        response.once('drain', more);
      };
      return more();
    }
    const data = files.get(request.url ?? '');
    if (!data) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': data.length });
    response.end(request.method === 'HEAD' ? undefined : data);
  });
  folder = await mkdtemp(join(tmpdir(), 'kina-hostile-'));
  await mkdir(join(folder, 'recipe'));
  await writeFile(join(folder, 'canary'), 'untouched');
  workshop = await openWorkshop({ mirror: [server.url] });
});
afterAll(async () => {
  await workshop?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

let count = 0;
/** Builds an image of these steps (YAML, one per line). */
async function build(...steps: string[]) {
  const recipe = join(folder, 'recipe', `r${count++}.yaml`);
  const lines = [
    'name: r',
    'description: r',
    'image: { tag: "localhost/r:1" }',
    'layers:',
    '  - name: one',
    '    steps:',
  ];
  await writeFile(recipe, [...lines, ...steps.map((s) => `      - ${s}`)].join('\n'));
  return workshop.build({ recipe });
}

/** A download with this content, and the step that names it. */
function download(data: Buffer, more = ''): string {
  const name = `a${count++}.tar`;
  files.set(`/example.com/${name}`, data);
  return `archive: { url: "https://example.com/${name}", checksum: { sha256: ${sha256(data).slice(7)} }${more} }`;
}

async function expectNothingElse(): Promise<void> {
  expect(await readFile(join(folder, 'canary'), 'utf8')).toBe('untouched');
  expect((await readdir(folder)).sort()).toEqual(['canary', 'recipe']);
  expect(await workshop.tools.store.images()).toEqual([]);
  expect(await readdir(join(workshop.tools.store.root, 'tmp'))).toEqual([]);
}

const good: Member = { name: 'usr/bin/good', data: 'good' };
const escapes: [string, Member[]][] = [
  ['..', [{ name: '../../../canary', data: 'x' }]],
  ['.. in the middle', [{ name: 'a/../../../../canary', data: 'x' }]],
  ['an absolute path', [{ name: '/tmp/canary', data: 'x' }]],
  [
    'a path through a symbolic link',
    [
      { name: 'l', type: 'symlink', linkname: '../../..' },
      { name: 'l/canary', data: 'x' },
    ],
  ],
  ['a hard link to the outside', [{ name: 'h', type: 'link', linkname: '../../../canary' }]],
  [
    'a hard link through a symbolic link',
    [
      { name: 'l', type: 'symlink', linkname: '/etc' },
      { name: 'h', type: 'link', linkname: 'l/passwd' },
    ],
  ],
  ['a block device', [{ name: 'sda', type: 'block-device', devmajor: 8, devminor: 0 }]],
  ['a character device', [{ name: 'mem', type: 'character-device', devmajor: 1, devminor: 1 }]],
  ['a FIFO', [{ name: 'pipe', type: 'fifo' }]],
];

describe('an archive with', () => {
  test.each(escapes)('%s', async (_name, members) => {
    const step = download(await tarOf([good, ...members]));
    await expect(build(step)).rejects.toMatchObject({ code: 'archive' });
    await expectNothingElse();
  });

  test('two archives together cannot do what one may not: a link from the first, a file through it from the second', async () => {
    const first = download(await tarOf([good, { name: 'opt/x', type: 'symlink', linkname: '../../../..' }]));
    const second = download(await tarOf([{ name: 'opt/x/canary', data: 'x' }]));
    // Inside an image the root's `..` is the root, for kina as for the kernel.
    const files = await workshop.files(await build(first, second), 'linux/amd64');
    expect(files.get('opt/x')).toMatchObject({ type: 'symlink', target: '../../../..' });
    expect([...files.keys()].sort()).toEqual(['canary', 'opt', 'opt/x', 'usr', 'usr/bin', 'usr/bin/good']);
    await expectNothingElse();
  });

  test.each<[string, Buffer, RegExp]>([
    ['lz4', Buffer.from('04224d186440a7', 'hex'), /lz4/i],
    ['bzip2', Buffer.from('BZh91AY&SY'), /bzip2/i],
    ['compress', Buffer.from('1f9d9000', 'hex'), /compress/i],
    ['7z', Buffer.from('377abcaf271c0004', 'hex'), /7z|7-zip|tar/i],
    ['a web page', Buffer.from(`<html>${' '.repeat(2000)}</html>`), /tar/i],
  ])('a compression that is unknown or none: %s', async (_name, start, words) => {
    const error = await build(download(Buffer.concat([start, Buffer.alloc(2048, 7)]))).catch((e: Error) => e);
    expect(error).toMatchObject({ code: 'archive', message: expect.stringMatching(words) });
    await expectNothingElse();
  });

  test('a size that its bytes do not bear out: 8 TiB in a header, nothing behind it', async () => {
    const tar = await tarOf([{ name: 'big', data: 'x' }]);
    // Base-256, as GNU tar writes what eleven octal digits cannot say.
    tar.fill(0, 124, 136);
    tar[124] = 0x80;
    tar[130] = 8;
    tar.fill(' ', 148, 156);
    const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    await expect(build(download(gzipSync(tar)))).rejects.toMatchObject({ code: 'archive' });
    await expectNothingElse();
  });

  test('a zstd frame that wants 2 GiB of memory', async () => {
    // Frame header with a window descriptor of 2^31 (RFC 8878, 3.1.1.1.2) and one raw block of nothing.
    const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00]);
    await expect(build(download(Buffer.concat([frame, Buffer.alloc(64)])))).rejects.toMatchObject({ code: 'archive' });
    await expectNothingElse();
  });

  test('names that differ only in case keep their own bytes, whatever the disk of the store thinks of them', async () => {
    const built = await build(
      download(
        zstdCompressSync(
          await tarOf([
            { name: 'x/README', data: 'upper' },
            { name: 'x/readme', data: 'lower' },
          ]),
        ),
      ),
    );
    const found = await workshop.files(built, 'linux/amd64');
    expect([found.get('x/README')!.data.toString(), found.get('x/readme')!.data.toString()]).toEqual([
      'upper',
      'lower',
    ]);
  });
});

describe('an image with', () => {
  /** What `docker save` writes, of one layer. */
  const image = async (layer: Buffer, name = 'layer.tar'): Promise<string> => {
    const config = JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [sha256(layer)] },
    });
    const manifest = JSON.stringify([{ Config: 'config.json', RepoTags: ['localhost/base:1'], Layers: [name] }]);
    const path = `image${count++}.tar`;
    await writeFile(
      join(folder, 'recipe', path),
      await tarOf([
        { name: 'layer.tar', data: layer.toString('latin1') },
        { name: 'config.json', data: config },
        { name: 'manifest.json', data: manifest },
      ]),
    );
    return `from: { source: ${path} }`;
  };

  test.each(escapes)('a layer with %s', async (_name, members) => {
    await expect(build(await image(await tarOf(members)))).rejects.toMatchObject({ code: 'archive' });
    await expectNothingElse();
  });

  test('a layer that is a file of this machine', async () => {
    for (const name of ['../canary', join(folder, 'canary'), '/etc/passwd'])
      await expect(build(await image(await tarOf([good]), name))).rejects.toMatchObject({ code: 'archive' });
    await expectNothingElse();
  });
});

describe('a recipe', () => {
  test.each(['../canary', 'a/../../canary', './a'])('cannot write to %s', async (path) => {
    await expect(build(`file: { path: "${path}", content: x }`)).rejects.toMatchObject({ code: 'recipe' });
    await expectNothingElse();
  });

  test('absolute paths and double slashes are places in the image, written one way', async () => {
    const built = await build('file: { path: "/canary", content: x }', 'file: { path: "a//b", content: x }');
    expect([...(await workshop.files(built, 'linux/amd64')).keys()].sort()).toEqual(['a', 'a/b', 'canary']);
  });

  test('a link out of the image is content; a file through it does not leave the image', async () => {
    const built = await build(
      'symlinks: { links: { etc: "../../../../tmp" } }',
      'file: { path: etc/canary, content: x }',
    );
    expect([...(await workshop.files(built, 'linux/amd64')).keys()].sort()).toEqual(['etc', 'tmp', 'tmp/canary']);
    expect(await readFile(join(folder, 'canary'), 'utf8')).toBe('untouched');
  });
});

test('a version marker without an end is given up', async () => {
  await expect(workshop.build({ recipe: smallRecipe, source: 'stable' })).rejects.toMatchObject({
    code: 'network',
    message: expect.stringContaining('larger than the limit of 4096 bytes'),
  });
});
