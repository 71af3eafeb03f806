/** `archive` steps with a file beside the recipe: pinned by its content, wherever it lies. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silent } from '../../../src/host/progress.ts';
import { archiveKind } from '../../../src/layers/kinds/archive.ts';
import type { Pins } from '../../../src/layers/step.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { readAll } from '../../../src/tree/entry.ts';
import { Unpacker } from '../../../src/tree/unpack.ts';
import { parseStep, resolveContext, treeContext } from '../../support/steps.ts';

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kina-archive-'));
  store = await Store.open(join(folder, 'store'));
  mkdirSync(join(folder, 'package/bin'), { recursive: true });
  pack('tool.tgz', 'one');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** As GNU tar packs a folder, with the current user as the owner. */
function pack(name: string, content: string): void {
  writeFileSync(join(folder, 'package/bin/tool'), content);
  chmodSync(join(folder, 'package/bin/tool'), 0o755);
  execFileSync('tar', ['-czf', join(folder, name), '-C', folder, 'package']);
}
const step = parseStep(archiveKind, { source: 'tool.tgz', strip: 1, into: 'usr/lib/tool' });
const resolve = async (at = folder): Promise<Pins> => (await step.resolve(resolveContext({ recipeFolder: at }))).pins;
async function files(pins: Pins): Promise<Record<string, string>> {
  if (step.derived) throw new Error('archive is a plain kind');
  const used = treeContext({
    recipeFolder: folder,
    reporter: silent,
    store,
    unpacker: new Unpacker(join(folder, 'unpacked')),
    owner: 'tool/archive',
  });
  const { tree } = await step.tree(pins, used);
  const found: Record<string, string> = {};
  for (const entry of tree.sorted())
    if (entry.type === 'file')
      found[`${entry.path} ${entry.mode.toString(8)} ${entry.uid}`] = (await readAll(entry.content)).toString();
  return found;
}

test('its files, owned by root; the lock has its digest and no path of this machine', async () => {
  const pins = await resolve();
  expect(pins).toMatchObject({ artifacts: [], inputs: { 'tool.tgz': expect.stringMatching(/^sha256:[0-9a-f]{64}$/) } });
  expect(JSON.stringify(pins)).not.toContain(folder);
  expect(await files(pins)).toEqual({ 'usr/lib/tool/bin/tool 755 0': 'one' });
});

test('a file that differs from the lock is refused, also when it changes between planning and building', async () => {
  const pins = await resolve();
  await step.checkLocal(pins, folder);
  pack('tool.tgz', 'two');
  await expect(step.checkLocal(pins, folder)).rejects.toMatchObject({ code: 'lock' });
  await expect(files(pins)).rejects.toMatchObject({ code: 'integrity' });
});

test('a file that is not there says where it was looked for', async () => {
  await expect(resolve(join(folder, 'elsewhere'))).rejects.toMatchObject({
    code: 'recipe',
    message: expect.stringContaining(join(folder, 'elsewhere/tool.tgz')),
  });
});

test('a source is not a download', () => {
  const problem = (body: object) => archiveKind.schema.safeParse(body).error?.issues[0]?.message;
  expect(problem({ source: 'a.tgz', url: 'https://example.org/a.tgz' })).toBe('give exactly one of url, source');
  expect(problem({})).toBe('give exactly one of url, source');
  expect(problem({ source: 'a.tgz', checksum: { sha256: 'a'.repeat(64) } })).toContain('a checksum is for url');
});
