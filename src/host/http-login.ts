/**
 * Logins: the `Authorization` header that answers a 401, or that is sent up front once a server's challenge is known.
 *
 * A login belongs to one host. It is looked up by the address that was asked and never follows a redirect, so a registry's
 * storage server does not see it. A token server is a different host by design; it gets the login because the registry
 * named it, over a connection at least as secure as the registry's own.
 *
 * Server messages are shown in errors. A server may echo what it was sent, so every secret that was used is masked in
 * them.
 */
import { BearerTokens, basic, type Login, parseBearer, type RealmReader } from './http-bearer.ts';
import { originOf } from './http-route.ts';

/** Returns the login for an address (a URL), if any. Its errors are KinaErrors. */
export type FindLogin = (address: string) => Promise<Login | undefined>;

export class Authorizations {
  readonly #find: FindLogin;
  readonly #tokens: BearerTokens;
  readonly #basic = new Set<string>();
  readonly #secrets = new Set<string>();

  constructor(read: RealmReader, find: FindLogin = async () => undefined) {
    this.#tokens = new BearerTokens(read, (secret) => this.remember(secret));
    this.#find = find;
  }

  /** The header this server is known to require, so that a body is not sent twice. `scope` is what the request needs. */
  async known(address: string, scope: string | undefined): Promise<string | undefined> {
    if (this.#basic.has(originOf(address))) return this.#basicFor(await this.#login(address));
    if (scope === undefined || !this.#tokens.knows(address)) return undefined;
    const login = await this.#login(address);
    return login && 'token' in login ? undefined : this.#tokens.known(address, scope, login);
  }

  /**
   * The `Authorization` value that answers a 401, or undefined if there is none. `rejected` is the value that the server
   * has just refused; it is not sent again.
   */
  async answer(
    header: string | undefined,
    address: string,
    rejected: string | undefined,
    scope: string | undefined,
  ): Promise<string | undefined> {
    const challenge = parseBearer(header ?? '');
    if (challenge) {
      const login = await this.#login(address);
      if (!login || !('token' in login)) return this.#tokens.answer(challenge, address, rejected, scope, login);
      const value = `Bearer ${login.token}`;
      return value === rejected ? undefined : value;
    }
    if (!/(?:^|,)\s*Basic\b/i.test(header ?? '')) return undefined;
    const value = this.#basicFor(await this.#login(address));
    if (value === undefined || value === rejected) return undefined;
    this.#basic.add(originOf(address));
    return value;
  }

  /** The source of the login for an address, or undefined. */
  async sourceOf(address: string): Promise<string | undefined> {
    return (await this.#find(address))?.source;
  }

  /** Masks every secret used so far. Only whole secrets are found, so truncate the text afterwards. */
  mask(text: string): string {
    let masked = text;
    // Longest first: otherwise a secret that starts with another one would be masked only in part.
    for (const secret of [...this.#secrets].sort((a, b) => b.length - a.length))
      masked = masked.replaceAll(secret, '***');
    return masked;
  }

  /** Masks this secret from now on in all spellings: plain, JSON, URL and form encoding. */
  remember(secret: string): void {
    if (secret === '') return;
    const inUrl = encodeURIComponent(secret);
    const inForm = new URLSearchParams({ '': secret }).toString().slice(1);
    for (const spelling of [secret, JSON.stringify(secret).slice(1, -1), inUrl, inForm]) this.#secrets.add(spelling);
  }

  async #login(address: string): Promise<Login | undefined> {
    const login = address.startsWith('http') ? await this.#find(address) : undefined;
    if (!login) return undefined;
    this.remember(secretOf(login));
    // Token servers receive the pair as well.
    if ('password' in login) this.remember(basic(login.username, login.password).slice('Basic '.length));
    return login;
  }

  #basicFor(login: Login | undefined): string | undefined {
    if (!login || !('password' in login)) return undefined;
    return basic(login.username, login.password);
  }
}

function secretOf(login: Login): string {
  if ('password' in login) return login.password;
  return 'token' in login ? login.token : login.refreshToken;
}
