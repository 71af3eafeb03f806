/**
 * Work that several callers want at once and that is done once. A caller who loses patience leaves at once; the work is
 * given up when the last one has left.
 */
import { interrupted } from '../../host/http-errors.ts';

interface Job<T> {
  readonly result: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
}

export class SingleFlight<T> {
  readonly #jobs = new Map<string, Job<T>>();

  /** Joins the work that goes on under `key`, or begins it. Throws what it throws, and `interrupted`. */
  async run(key: string, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal?.aborted) throw interrupted(signal.reason);
    const job = this.#jobs.get(key) ?? this.#begin(key, work);
    job.waiting++;
    const { promise: left, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(interrupted(signal?.reason));
    signal?.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([job.result, left]);
    } finally {
      signal?.removeEventListener('abort', leave);
      if (--job.waiting === 0 && this.#jobs.get(key) === job) {
        this.#jobs.delete(key); // who comes now begins anew
        job.stop.abort();
      }
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Job<T> {
    const stop = new AbortController();
    const job: Job<T> = { result: work(stop.signal), stop, waiting: 0 };
    this.#jobs.set(key, job);
    const forget = (): void => {
      if (this.#jobs.get(key) === job) this.#jobs.delete(key);
    };
    job.result.then(forget, forget);
    return job;
  }
}
