/**
 * Requests that the runtime has agreed to serve. Each has a random token that is valid once and for a minute, as in the
 * kubelet's streaming server. They cannot be guessed (144 bits), so the token is the whole authorization.
 */
import { randomBytes } from 'node:crypto';
import { KinaError } from '../../host/errors.ts';

export interface TokenLimits {
  /** Maximum of unused tokens. */
  readonly outstanding: number;
  /** Milliseconds. */
  readonly lifetime: number;
}

const usual: TokenLimits = { outstanding: 1000, lifetime: 60_000 };

export class Tokens<T> {
  readonly #limits: TokenLimits;
  readonly #clock: () => number;
  /** Oldest first: all live equally long. */
  readonly #waiting = new Map<string, { readonly value: T; readonly until: number }>();

  /** `clock` tells milliseconds that only grow. */
  constructor(limits: TokenLimits = usual, clock: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Throws `busy` when too many wait already. */
  issue(value: T): string {
    this.#forgetOld();
    if (this.#waiting.size >= this.#limits.outstanding)
      throw new KinaError('busy', `${this.#waiting.size} streaming requests wait for their clients already`, {
        hint: `Connect to them, or wait ${Math.ceil(this.#limits.lifetime / 1000)} s until they expire.`,
      });
    const token = randomBytes(18).toString('base64url');
    this.#waiting.set(token, { value, until: this.#clock() + this.#limits.lifetime });
    return token;
  }

  /** The request of the token; a token can be used once. */
  take(token: string): T | undefined {
    this.#forgetOld();
    const found = this.#waiting.get(token);
    this.#waiting.delete(token);
    return found?.value;
  }

  #forgetOld(): void {
    const now = this.#clock();
    for (const [token, { until }] of this.#waiting) {
      if (until > now) return;
      this.#waiting.delete(token);
    }
  }
}
