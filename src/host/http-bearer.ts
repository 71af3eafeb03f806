/**
 * Bearer tokens: a server that answers 401 names a `realm` that issues tokens for a `service` and a `scope` (the token
 * flow of container registries, distribution.github.io/distribution/spec/auth/token and …/auth/oauth). Public content
 * needs no login. Tokens are cached until shortly before they expire; concurrent requests share one token request, and
 * failures are not cached.
 */
import { KinaError } from './errors.ts';
import { originOf, redact } from './http-route.ts';

/** `source` is the file or helper that the login came from, for messages. */
export type Login = { readonly source: string } & (
  | { readonly username: string; readonly password: string }
  | { readonly refreshToken: string }
  /** Sent unchanged to a server that asks for a token. */
  | { readonly token: string }
);
/** A login that a token server accepts. */
export type Identity = Exclude<Login, { readonly token: string }>;
interface Challenge {
  readonly realm: string;
  readonly service: string | undefined;
  /** `TYPE:NAME:ACTION,ACTION`; several are separated by spaces. */
  readonly scope: string | undefined;
}
interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}
/** The HTTP request for a token. */
export interface RealmRequest {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}
/** Fetches the answer of a realm; `address` is the server that named the realm. */
export type RealmReader = (realm: string, address: string, request: RealmRequest) => Promise<Buffer>;

export class BearerTokens {
  readonly #read: RealmReader;
  readonly #onSecret: (secret: string) => void;
  readonly #tokens = new Map<string, Promise<Token>>();
  /** The last challenge, by origin and by origin and scope. */
  readonly #challenges = new Map<string, Challenge>();

  /** `onSecret` receives every value that must never be shown. */
  constructor(read: RealmReader, onSecret: (secret: string) => void = () => {}) {
    this.#read = read;
    this.#onSecret = onSecret;
  }

  /** True when this server has asked for tokens before. */
  knows(address: string): boolean {
    return this.#challenges.has(originOf(address));
  }

  /** A token for a server with a known challenge, sent before the server asks. */
  async known(address: string, scope: string, login: Identity | undefined): Promise<string | undefined> {
    const origin = originOf(address);
    const challenge = this.#challenges.get(`${origin} ${scope}`) ?? this.#challenges.get(origin);
    return challenge && this.#token({ ...challenge, scope: join(scope, challenge.scope) }, address, undefined, login);
  }

  /**
   * The `Authorization` value that answers a challenge, or undefined if the server has just `rejected` the only one
   * available. `scope` is what the request needs in addition to the challenge.
   */
  async answer(
    challenge: Challenge,
    address: string,
    rejected: string | undefined,
    scope: string | undefined,
    login: Identity | undefined,
  ): Promise<string | undefined> {
    const origin = originOf(address);
    const whole = { ...challenge, scope: join(scope, challenge.scope) };
    this.#challenges.set(origin, { ...challenge, scope: undefined });
    if (scope !== undefined) this.#challenges.set(`${origin} ${scope}`, whole);
    return this.#token(whole, address, rejected, login);
  }

  async #token(
    challenge: Challenge,
    address: string,
    rejected: string | undefined,
    login: Identity | undefined,
  ): Promise<string | undefined> {
    const account = login && ('refreshToken' in login ? login.refreshToken : `${login.username}:${login.password}`);
    const key = JSON.stringify([challenge.realm, challenge.service, challenge.scope, account]);
    for (let known = this.#tokens.get(key); known; known = this.#tokens.get(key)) {
      const { value, expires } = await known;
      if (expires > Date.now() && value !== rejected) return value;
      if (this.#tokens.get(key) === known) this.#tokens.delete(key); // unless a newer request has replaced it
    }
    const pending = this.#ask(challenge, address, login);
    this.#tokens.set(key, pending);
    try {
      const { value } = await pending;
      return value === rejected ? undefined : value;
    } catch (error) {
      this.#tokens.delete(key);
      throw error;
    }
  }

  async #ask(challenge: Challenge, address: string, login: Identity | undefined): Promise<Token> {
    const url = URL.canParse(challenge.realm) ? new URL(challenge.realm) : undefined;
    if (!url || (url.protocol !== 'https:' && !(url.protocol === 'http:' && address.startsWith('http:'))))
      throw new KinaError('network', `${redact(address)} names an untrusted token server: ${redact(challenge.realm)}`);
    const parameters: [string, string][] = [
      ...(challenge.service ? [['service', challenge.service] satisfies [string, string]] : []),
      ...(challenge.scope?.split(' ') ?? []).map((scope): [string, string] => ['scope', scope]),
    ];
    const request = realmRequest(url, parameters, challenge.scope, login);
    const answer = parseAnswer(await this.#read(url.href, address, request));
    if (!answer) throw new KinaError('network', `${redact(url.href)} did not return a token`);
    this.#onSecret(answer.value.slice('Bearer '.length));
    return answer;
  }
}

/** Docker's refresh token is exchanged by POST, which keeps it out of the URL; everything else is a GET. */
function realmRequest(
  url: URL,
  parameters: readonly [string, string][],
  scope: string | undefined,
  login: Identity | undefined,
): RealmRequest {
  if (login && 'refreshToken' in login) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'kina',
      refresh_token: login.refreshToken,
      ...Object.fromEntries(parameters.filter(([name]) => name === 'service')),
      ...(scope ? { scope } : {}),
    });
    return {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: Buffer.from(form.toString()),
    };
  }
  for (const [name, value] of parameters) url.searchParams.append(name, value);
  if (!login) return { method: 'GET', headers: {} };
  url.searchParams.set('account', login.username);
  return { method: 'GET', headers: { authorization: basic(login.username, login.password) } };
}

/** `Basic …` (RFC 7617, in UTF-8). */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** `Bearer realm="…",service="…",scope="…"`, alone or among other challenges. */
export function parseBearer(header: string): Challenge | undefined {
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

/** Merges two scopes: actions on the same resource are joined, other scopes are kept, the order is kept. */
function join(own: string | undefined, asked: string | undefined): string | undefined {
  if (own === undefined || asked === undefined) return own ?? asked;
  const actions = new Map<string, Set<string>>();
  for (const scope of `${own} ${asked}`.split(' ').filter(Boolean)) {
    const [, thing = scope, wanted] = /^(.+:)([^:]*)$/.exec(scope) ?? [];
    const known = actions.get(thing) ?? new Set();
    for (const action of wanted?.split(',') ?? []) known.add(action);
    actions.set(thing, known);
  }
  return [...actions].map(([thing, wanted]) => `${thing}${[...wanted].join(',')}`).join(' ');
}

function parseAnswer(body: Buffer): Token | undefined {
  try {
    const answer = JSON.parse(body.toString('utf8'));
    const token = answer.token ?? answer.access_token;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) return undefined;
    // 60 seconds is the default of the specification; a token must outlive the request it is used for.
    const seconds = typeof answer.expires_in === 'number' ? answer.expires_in : 60;
    return { value: `Bearer ${token}`, expires: Date.now() + Math.max(0, seconds - 10) * 1000 };
  } catch {
    return undefined;
  }
}
