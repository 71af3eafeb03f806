import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freeSocket } from '../../../src/cri/socket.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-socket-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the place of a socket', () => {
  it('is taken from a dead service, and from nothing that is no socket', async () => {
    const path = join(folder, 'precious');
    await writeFile(path, 'precious');
    await expect(freeSocket(path)).rejects.toMatchObject({ code: 'usage' });
    expect(await readFile(path, 'utf8')).toBe('precious');
    await freeSocket(join(folder, 'absent'));
  });

  it('is not taken from a service that answers', async () => {
    const path = join(folder, 's.sock');
    const server = createServer((connection) => connection.destroy());
    await new Promise<void>((done) => server.listen(path, done));
    try {
      await expect(freeSocket(path)).rejects.toMatchObject({ code: 'conflict' });
    } finally {
      server.close();
    }
  });
});
