import { spawnSync } from 'node:child_process';
import { lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkSocketFree, listenAlone } from '../../../src/cri/socket.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-socket-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const dying = 'net.createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
const service = (): Server => createServer((connection) => connection.destroy());

describe('the place of a socket', () => {
  it('is not that of a file that is not a socket', async () => {
    const path = join(folder, 'precious');
    await writeFile(path, 'precious');
    for (const look of [checkSocketFree(path), listenAlone(service(), path)])
      await expect(look).rejects.toMatchObject({ code: 'usage' });
    expect(await readFile(path, 'utf8')).toBe('precious');
    await checkSocketFree(join(folder, 'absent'));
  });

  it('is had by one of two that come at once, also where a dead one left its own', async () => {
    const path = join(folder, 's.sock');
    for (let round = 0; round < 10; round++) {
      spawnSync(process.execPath, ['-e', dying, path]);
      expect((await lstat(path)).isSocket()).toBe(true);
      const servers = [service(), service()];
      const ends = await Promise.allSettled(servers.map((server) => listenAlone(server, path)));
      const failures = ends.filter((one) => one.status === 'rejected').map(({ reason }) => reason.code);
      expect(failures).toEqual(['conflict']);
      await expect(checkSocketFree(path)).rejects.toMatchObject({ code: 'conflict' });
      expect(await readdir(folder)).toEqual(['s.sock']);
      await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
    }
  });
});
