/**
 * Work that several callers need at the same time and that is done once. A caller that is cancelled returns at once; the work
 * is cancelled with the last caller.
 */
import { interrupted } from '../../host/http-errors.ts';

interface Job<T> {
  readonly result: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
}

export class SingleFlight<T> {
  readonly #jobs = new Map<string, Job<T>>();

  /** Joins the work under `key`, or starts it. Throws what it throws, and `interrupted`. */
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
        this.#jobs.delete(key); // the next caller starts again
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
