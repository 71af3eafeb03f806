/**
 * Whether this machine reaches the API server where the kubeconfig says it is. A cluster that is well in itself may not be
 * reached: a port is forwarded by a program that accepts every connection, and behind it a virtual machine may have
 * become unreachable for its host. So the look is a TLS handshake, not a connection.
 */
import { connect } from 'node:tls';
import type { Steps } from '../host/progress.ts';
import type { Provider } from '../provider/provider.ts';

const patience = 10_000;

/** A warning with what to do when it does not answer; the cluster is there all the same. */
export async function warnIfUnreachable(server: string, provider: Provider, steps: Steps): Promise<void> {
  const problem = await handshake(server);
  if (problem === undefined) return;
  steps.warn(
    `the cluster runs, but ${server} does not answer on this machine (${problem})${provider.reachHint ? `: ${provider.reachHint}` : ''}`,
  );
}

/** Why there was none; whose certificate it is, is the client's to check. */
export function handshake(server: string, limit = patience): Promise<string | undefined> {
  const { hostname, port } = new URL(server);
  return new Promise((done) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), rejectUnauthorized: false });
    const end = (problem?: string) => {
      socket.destroy();
      done(problem);
    };
    socket.setTimeout(limit, () => end(`nothing within ${limit / 1000} s`));
    socket.once('secureConnect', () => end());
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}
