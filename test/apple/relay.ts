/**
 * One published socket: listens on this host from the machine's boot to its end, and hands every connection on to a path
 * in the mounts that the machine's first process sees. As the real one it listens before anybody in the machine does: who
 * comes too early is taken, and hung up on.
 *
 *     node relay.ts HOST_PATH FIRST_PROCESS GUEST_PATH
 */
import { rmSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';

const [hostPath = '', firstProcess = '', guestPath = ''] = process.argv.slice(2);

const server = createServer((near) => {
  const far = createConnection(`/proc/${firstProcess}/root${guestPath}`);
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.pipe(to);
    from.once('error', () => to.destroy());
    from.once('close', () => to.destroy());
  }
});
process.umask(0o177);
server.listen(hostPath);

setInterval(() => {
  try {
    process.kill(Number(firstProcess), 0);
  } catch {
    // the folder may have been removed already
    rmSync(hostPath, { force: true });
    process.exit(0);
  }
}, 200);
