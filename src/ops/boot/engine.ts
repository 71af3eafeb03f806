/** Runs an image as a node in a container engine, started like the nodes of a cluster. Everything created is removed. */
import { randomBytes } from 'node:crypto';
import { archiveFor } from '../../cluster/image.ts';
import { type PlatformImage, readContents } from '../../oci/image/contents.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Provider } from '../../provider/provider.ts';
import { type BootTarget, NodeEnded } from './target.ts';

/** Loads the image, starts it, and returns at once: init is still busy for some seconds. Throws `provider`. */
export async function bootContainer(
  provider: Provider,
  store: Store,
  image: PlatformImage,
  signal?: AbortSignal,
): Promise<BootTarget> {
  const version = await provider.version();
  // The cluster's label as well, so that `kina delete cluster NAME` removes the remains of a crash.
  const name = `image-test-${randomBytes(4).toString('hex')}`;
  const reference = `localhost/kina/${name}:latest`;
  const stop = async (): Promise<void> => {
    // In this order, each even if the previous one failed.
    const steps: (() => Promise<unknown>)[] = [
      () => provider.remove([name]),
      () => provider.removeNetwork(name),
      () => provider.removeImage(reference),
    ];
    const failures: unknown[] = [];
    for (const step of steps) await step().catch((error) => failures.push(error));
    if (failures.length) throw failures[0];
  };
  const state = async (): Promise<string | undefined> => (await provider.nodes(name))[0]?.state;
  try {
    const contents = await readContents(store, image.descriptor);
    await provider.load(await archiveFor(provider, store, contents, reference), signal);
    await provider.ensureNetwork({ name, ipv6: false });
    await provider.create(
      { name, cluster: name, role: 'control-plane', image: reference, network: name, privileged: true },
      signal,
    );
    return {
      title: `${provider.name} ${version}`,
      patience: 1,
      async exec(command, { timeout = 60 } = {}) {
        const result = await provider.exec(name, ['sh', '-c', command], { timeout: timeout * 1000, signal });
        if (result.code !== 0 && (await state()) !== 'running') throw new NodeEnded('the container has ended');
        return result.timedOut ? { ...result, code: 124 } : result;
      },
      logs: () => provider.logs(name),
      stop,
    };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}
