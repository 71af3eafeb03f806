import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ContainerRecord, type PodRecord, Records } from '../../../src/cri/runtime/records.ts';
import { check } from '../../support/command.ts';

const sandbox = { id: 'pod', state: 'ready' } as PodRecord;
const container = (state: ContainerRecord['state'], log = '') =>
  ({ id: 'main', sandbox: 'pod', state, log }) as ContainerRecord;

let root: string;
let records: Records;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'kina-records-'));
  records = new Records(root);
  await records.begin(sandbox);
});
afterEach(() => rm(root, { recursive: true, force: true }));

// An event tells of a creation that is not answered yet, and nothing waits for what it writes: once it came last, and the
// next start of the service took the container for half made.
test('what is said later stands, also when writing the earlier takes longer', async () => {
  const slow = records.saveContainer(container('making', 'x'.repeat(20 << 20)));
  await records.saveContainer(container('made'));
  await slow;
  expect(await records.load()).toEqual([{ sandbox, containers: [container('made')] }]);
});

test('nothing brings back a sandbox that is forgotten', async () => {
  const forgotten = records.forgetPod('pod');
  await records.saveContainer(container('made'));
  await forgotten;
  expect(existsSync(records.folder('pod'))).toBe(false);
});

test('nothing brings back a container that is forgotten', async () => {
  const slow = records.saveContainer(container('made', 'x'.repeat(20 << 20)));
  await records.forgetContainer('pod', 'main');
  await slow;
  expect(await records.load()).toEqual([{ sandbox, containers: [] }]);
});

test('a change that fails does not keep those after it', async () => {
  await writeFile(join(root, 'file'), '');
  const broken = new Records(join(root, 'file'));
  await expect(broken.savePod(sandbox)).rejects.toThrow(/ENOTDIR/);
  await expect(broken.savePod(sandbox)).rejects.toThrow(/ENOTDIR/);
  await records.savePod({ ...sandbox, state: 'stopped' });
  expect((await records.load())[0]?.sandbox.state).toBe('stopped');
});

test('what a crash left half written goes at the next start', async () => {
  for (const folder of [records.folder('pod'), join(records.folder('pod'), 'containers')])
    await writeFile(join(folder, 'main.json.1-2.tmp'), '{');
  await records.saveContainer(container('made'));
  await records.load();
  expect((await readdir(records.folder('pod'))).sort()).toEqual(['containers', 'sandbox.json', 'shared', 'socket']);
  expect(await readdir(join(records.folder('pod'), 'containers'))).toEqual(['main.json']);
});

// The folder is the sandbox's to write: a pipe there would hold one of the few threads that read files.
test('what a sandbox puts in the place of a record neither ends nor blocks anything', async () => {
  const path = join(records.shared('pod'), 'containers', 'main.json');
  const times = { createdAt: '1', startedAt: '2', finishedAt: '3' };
  const end = { id: 'main', state: 'exited', pid: 7, ...times, exitCode: 3, oomKilled: false };
  await writeFile(path, JSON.stringify(end));
  expect(await records.end('pod', 'main')).toEqual(end);
  const other = join(root, 'other');
  await writeFile(other, JSON.stringify(end));
  const strange = [
    () => writeFile(path, JSON.stringify({ ...end, startedAt: {} })),
    () => writeFile(path, JSON.stringify({ ...end, exitCode: 'none' })),
    () => writeFile(path, JSON.stringify({ ...end, id: 'another' })),
    () => writeFile(path, 'null'),
    () => writeFile(path, Buffer.alloc(1 << 20, '[')),
    () => symlink(other, path),
    () => mkdir(path),
    () => check(['mkfifo', path]),
  ];
  for (const put of strange) {
    await rm(path, { recursive: true, force: true });
    await put();
    expect(await records.end('pod', 'main')).toBeUndefined();
  }
});
