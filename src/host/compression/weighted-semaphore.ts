/** Limits concurrent work by weight, in bytes of memory; first come, first served. */
export class WeightedSemaphore {
  readonly #limit: number;
  readonly #waiting: { cost: number; go: () => void }[] = [];
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves when there is room. A weight above the limit is admitted alone. */
  async enter(cost: number): Promise<void> {
    if (this.tryEnter(cost)) return;
    await new Promise<void>((go) => this.#waiting.push({ cost, go }));
  }

  /** Acquires only if that needs no waiting. */
  tryEnter(cost: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(cost)) return false;
    this.#used += cost;
    return true;
  }

  leave(cost: number): void {
    this.#used -= cost;
    for (let next = this.#waiting[0]; next && this.#fits(next.cost); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#used += next.cost;
      next.go();
    }
  }

  #fits(cost: number): boolean {
    return this.#used === 0 || this.#used + cost <= this.#limit;
  }
}
