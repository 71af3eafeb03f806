/** Whether the runtime can create sandboxes, and their features. The kubelet asks every few seconds. */
import { release } from 'node:os';
import type { StatusResponse } from '../api/messages.ts';
import type { Outgoing } from '../api/services.ts';
import { runtimeHandlers } from './machine.ts';
import type { CriOptions } from './options.ts';
import type { Pods } from './pods.ts';

/** Milliseconds for which a provider's answer is cached, because each question starts a program. */
const remembered = 30_000;

export class Health {
  readonly #options: CriOptions;
  readonly #pods: Pods;
  #asked = 0;
  #problem: Promise<string | undefined> = Promise.resolve(undefined);

  constructor(options: CriOptions, pods: Pods) {
    this.#options = options;
    this.#pods = pods;
  }

  async status(verbose: boolean): Promise<Outgoing<StatusResponse>> {
    if (Date.now() - this.#asked > remembered) {
      this.#asked = Date.now();
      this.#problem = this.#options.provider.version().then(
        () => undefined,
        (error: Error) => error.message,
      );
    }
    const problem = await this.#problem;
    const condition = (type: string) => ({
      type,
      status: problem === undefined,
      reason: problem === undefined ? '' : 'ProviderNotReady',
      message: problem ?? '',
    });
    const features = this.#features();
    return {
      status: { conditions: [condition('RuntimeReady'), condition('NetworkReady')] },
      runtimeHandlers: runtimeHandlers.map((name) => ({ name, features })),
      features: { supplementalGroupsPolicy: true },
      info: verbose ? { config: JSON.stringify(this.#info()) } : {},
    };
  }

  /**
   * The features of the last sandbox. Before the first sandbox: on Linux, sandboxes use the host's kernel; elsewhere a
   * newer one than either feature needs.
   */
  #features(): { recursiveReadOnlyMounts: boolean; userNamespaces: boolean } {
    const { abilities } = this.#pods;
    const [major = 0, minor = 0] = release().split('.').map(Number);
    const atLeast = (wanted: number) => process.platform !== 'linux' || major > 5 || (major === 5 && minor >= wanted);
    return {
      recursiveReadOnlyMounts: abilities?.recursiveReadOnly ?? atLeast(12),
      userNamespaces: abilities?.userNamespaces ?? atLeast(19),
    };
  }

  #info(): object {
    const { provider, sandboxImage, root, shares, network, routes } = this.#options;
    return { provider: provider.name, sandboxImage, root, shares, network, routes };
  }
}
