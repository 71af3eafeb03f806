/**
 * Checks whether this machine reaches the API server at the URL in the kubeconfig. It can fail for a healthy cluster: a
 * forwarder accepts every connection to a published port, even when the virtual machine behind it is unreachable. The
 * check is therefore a TLS handshake, not only a connection.
 */
import { connect } from 'node:tls';
import type { Steps } from '../host/progress.ts';
import type { Provider } from '../provider/provider.ts';

const timeout = 10_000;

/** The cluster exists either way, so this is not an error. */
export async function warnIfUnreachable(server: string, provider: Provider, steps: Steps): Promise<void> {
  const problem = await handshake(server);
  if (problem === undefined) return;
  const hint = provider.connectivityHint;
  steps.warn(
    `the cluster is running, but ${server} is not reachable from this machine (${problem})${hint ? `: ${hint}` : ''}`,
  );
}

/** Why the handshake failed; undefined when it succeeded. Any certificate is accepted: clients verify it. */
export function handshake(server: string, limit = timeout): Promise<string | undefined> {
  const { hostname, port } = new URL(server);
  return new Promise((done) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), rejectUnauthorized: false });
    const end = (problem?: string) => {
      socket.destroy();
      done(problem);
    };
    socket.setTimeout(limit, () => end(`no answer within ${limit / 1000} s`));
    socket.once('secureConnect', () => end());
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}
