/** An image as a node of a container engine, started as a cluster's nodes are. Everything made for it is removed. */
import { randomBytes } from 'node:crypto';
import { archiveFor } from '../../cluster/image.ts';
import { type PlatformImage, readContents } from '../../oci/image/contents.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Provider } from '../../provider/provider.ts';
import { type BootTarget, NodeEnded } from './target.ts';

/** Loads the image, starts it, and answers at once: init is busy for some seconds. Throws `provider`. */
export async function bootContainer(
  provider: Provider,
  store: Store,
  image: PlatformImage,
  signal?: AbortSignal,
): Promise<BootTarget> {
  const version = await provider.version();
  // Also the cluster's label: what a crash leaves behind, `kina delete cluster NAME` removes.
  const name = `image-test-${randomBytes(4).toString('hex')}`;
  const reference = `localhost/kina/${name}:latest`;
  const stop = async (): Promise<void> => {
    // in this order, and each even when the one before it could not be done
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
