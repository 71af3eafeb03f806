/**
 * Anonymous bearer tokens: a server that answers 401 names a `realm` where anybody gets a token for a `service` and a
 * `scope` (the token flow of container registries, distribution.github.io/distribution/spec/auth/token). Tokens are
 * kept until shortly before they expire; concurrent requests for one share a single answer, and failures are not kept.
 */
import { KinaError } from './errors.ts';
import { redact } from './http-route.ts';

interface Challenge {
  readonly realm: string;
  readonly service: string | undefined;
  readonly scope: string | undefined;
}
interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

export class BearerTokens {
  readonly #read: (realm: string, address: string) => Promise<Buffer>;
  readonly #tokens = new Map<string, Promise<Token>>();

  /** `read` gets a realm's answer; `address` is the server that named the realm. */
  constructor(read: (realm: string, address: string) => Promise<Buffer>) {
    this.#read = read;
  }

  /**
   * The `Authorization` value that answers a 401, or undefined when it asks for something else than a bearer token.
   * `rejected` is the value that the server just refused, so that it is not offered again.
   */
  async answer(header: string | undefined, address: string, rejected: string | undefined): Promise<string | undefined> {
    const challenge = parseChallenge(header ?? '');
    if (!challenge) return undefined;
    const key = JSON.stringify([challenge.realm, challenge.service, challenge.scope]);
    for (let known = this.#tokens.get(key); known; known = this.#tokens.get(key)) {
      const { value, expires } = await known;
      if (expires > Date.now() && value !== rejected) return value;
      if (this.#tokens.get(key) === known) this.#tokens.delete(key); // unless somebody else asked again already
    }
    const asking = this.#ask(challenge, address);
    this.#tokens.set(key, asking);
    try {
      const { value } = await asking;
      return value === rejected ? undefined : value;
    } catch (error) {
      this.#tokens.delete(key);
      throw error;
    }
  }

  async #ask(challenge: Challenge, address: string): Promise<Token> {
    const url = URL.canParse(challenge.realm) ? new URL(challenge.realm) : undefined;
    if (!url || (url.protocol !== 'https:' && !(url.protocol === 'http:' && address.startsWith('http:'))))
      throw new KinaError(
        'network',
        `${redact(address)} names a token server that cannot be trusted: ${redact(challenge.realm)}`,
      );
    if (challenge.service) url.searchParams.set('service', challenge.service);
    for (const scope of challenge.scope?.split(' ') ?? []) url.searchParams.append('scope', scope);
    const body = await this.#read(url.href, address);
    const answer = parseAnswer(body);
    if (!answer) throw new KinaError('network', `${redact(url.href)} did not answer with a token`);
    return answer;
  }
}

/** `Bearer realm="…",service="…",scope="…"`, alone or among other challenges. */
function parseChallenge(header: string): Challenge | undefined {
  const start = /(?:^|[,\s])Bearer\s+/i.exec(header);
  if (!start) return undefined;
  const parameters = new Map<string, string>();
  for (const match of header
    .slice(start.index + start[0].length)
    .matchAll(/([a-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))/gi))
    if (!parameters.has(match[1]!.toLowerCase())) parameters.set(match[1]!.toLowerCase(), match[2] ?? match[3] ?? '');
  const realm = parameters.get('realm');
  return realm ? { realm, service: parameters.get('service'), scope: parameters.get('scope') } : undefined;
}

function parseAnswer(body: Buffer): Token | undefined {
  try {
    const answer = JSON.parse(body.toString('utf8'));
    const token = answer.token ?? answer.access_token;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) return undefined;
    // Servers that say nothing mean 60 seconds; a token must outlive the request it is used for.
    const seconds = typeof answer.expires_in === 'number' ? answer.expires_in : 60;
    return { value: `Bearer ${token}`, expires: Date.now() + Math.max(0, seconds - 10) * 1000 };
  } catch {
    return undefined;
  }
}
