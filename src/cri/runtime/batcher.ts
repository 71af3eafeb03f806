/**
 * Combines calls for single names: running a provider's program costs as much for one name as for twenty. If no batch runs, a
 * call starts at once. Calls that arrive during a batch join the next one.
 */
export class Batcher {
  readonly #work: (names: readonly string[]) => Promise<void>;
  readonly #most: number;
  #waiting: { name: string; done: () => void; failed: (error: unknown) => void }[] = [];
  #busy = false;

  /** `most`: names per batch. When a batch fails, its names are tried one by one, so that one name cannot make others fail. */
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
