/** Free TCP ports of this machine. */
import { createServer, type Server } from 'node:net';
import { KinaError } from './errors.ts';

/**
 * One free port per address, none of `taken`. All are held until all are found, so that they differ. Another process can
 * take a port between this call and its use; the runtime then reports that.
 */
export async function freePorts(
  addresses: readonly string[],
  taken: ReadonlySet<number> = new Set(),
): Promise<number[]> {
  const servers: Server[] = [];
  try {
    const ports: number[] = [];
    for (const address of addresses) {
      let port: number;
      do {
        const server = createServer();
        servers.push(server);
        port = await listen(server, address);
      } while (taken.has(port));
      ports.push(port);
    }
    return ports;
  } finally {
    await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  }
}

function listen(server: Server, host: string): Promise<number> {
  return new Promise((done, failed) => {
    server.once('error', (error) =>
      failed(new KinaError('usage', `no port can be allocated on ${host}`, { details: [error.message], cause: error })),
    );
    server.listen(0, host, () => {
      const address = server.address();
      done(typeof address === 'object' && address ? address.port : 0);
    });
  });
}
