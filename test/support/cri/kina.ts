/** kina's CRI service as critest, a kubelet and the benches use it: started once, on the provider of this machine. */
import { nodeLabels } from '../../../src/provider/provider.ts';
import { run } from '../command.ts';
import { missing, podmanEnvironment } from '../requirements.ts';
import { type CriService, removePods } from './service.ts';
import { openServing, type Serving } from './serving.ts';

/** `KINA_CRI_PROVIDER` chooses the provider, podman without it. */
const provider = process.env.KINA_CRI_PROVIDER ?? 'podman';

/** `registry`: `127.0.0.1:PORT` of the test images; `shares`: folders of the host that pods may mount. */
export async function startKinaCri(
  registry: string,
  shares: readonly string[],
): Promise<CriService | { skip: string }> {
  const reason = missing(provider === 'apple' ? [] : [provider]);
  if (reason !== undefined) {
    process.stderr.write(`SKIPPED: kina cri: ${reason}\n`);
    return { skip: reason };
  }
  const env: Record<string, string> = podmanEnvironment();
  const serving = await openServing({ provider, env, registry, shares });
  const close = async (): Promise<void> => {
    await stop(serving, env);
    await serving.remove();
  };
  try {
    await serving.start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    name: 'kina',
    socket: serving.socket,
    pid: serving.pid,
    helpers: () => helpers(serving, env),
    said: () => serving.said(),
    stop: close,
  };
}

/** The sandboxes of a service, running or not, by id. */
async function sandboxes({ label }: Serving, env: NodeJS.ProcessEnv): Promise<string[]> {
  if (provider === 'apple') return []; // it has no filter by label, and nothing like a monitor
  const filter = `label=${nodeLabels.service}=${label}`;
  const listed = await run([provider, 'ps', '--all', '--quiet', '--no-trunc', '--filter', filter], { env });
  return listed.stdout.split('\n').filter(Boolean);
}

/** The agent of each sandbox, and podman's monitor of it; docker's shims belong to docker's own containerd. */
async function helpers(serving: Serving, env: NodeJS.ProcessEnv): Promise<number[]> {
  const names = await sandboxes(serving, env);
  if (names.length === 0) return [];
  const format = provider === 'podman' ? '{{.State.Pid}} {{.State.ConmonPid}}' : '{{.State.Pid}}';
  const found = await run([provider, 'inspect', '--format', format, ...names], { env });
  return found.stdout.split(/\s+/).filter(Boolean).map(Number);
}

/** Also after a crash: what the service cannot remove any more, the provider does. */
async function stop(serving: Serving, env: NodeJS.ProcessEnv): Promise<void> {
  if (serving.isRunning) await removePods(serving.socket);
  await serving.end('SIGTERM');
  const left = await sandboxes(serving, env);
  if (left.length > 0) {
    process.stderr.write(`${left.length} sandboxes are left and removed by ${provider}\n`);
    await run([provider, 'rm', '--force', ...left], { env });
  }
}
