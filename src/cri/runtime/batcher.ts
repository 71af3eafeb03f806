/**
 * Calls for one thing each, done together: a provider's program costs as much for one name as for twenty. A call that
 * comes while none runs begins at once; those that come meanwhile go along with the next.
 */
export class Batcher {
  readonly #work: (names: readonly string[]) => Promise<void>;
  readonly #most: number;
  #waiting: { name: string; done: () => void; failed: (error: unknown) => void }[] = [];
  #busy = false;

  /** `most`: names in one go. When a go fails, its names are tried one by one, so that one cannot fail others. */
  constructor(work: (names: readonly string[]) => Promise<void>, most = 20) {
    this.#work = work;
    this.#most = most;
  }

  add(name: string): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ name, done, failed });
      if (!this.#busy) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#most);
      try {
        await this.#work(group.map(({ name }) => name));
        for (const { done } of group) done();
      } catch (error) {
        if (group.length === 1) group[0]!.failed(error);
        else for (const { name, done, failed } of group) await this.#work([name]).then(done, failed);
      }
    }
    this.#busy = false;
  }
}
