/**
 * Who we are to a server: the answer to a 401, and what to say before one where the server's wish is known.
 *
 * A login belongs to the host that a person logged in to, so it is looked up by the address that was asked and never
 * follows a redirect: storage behind a registry may ask as it likes. A token server is another host by design; it gets
 * the login because the host that the login is for named it, over a connection no weaker than the registry's own.
 *
 * What a server said about a refusal is shown to people; a server that repeats what it was sent must not put a password
 * on a screen, so every secret that was ever used is known here and taken out.
 */
import { BearerTokens, basic, type Login, parseBearer, type RealmReader } from './http-bearer.ts';
import { originOf } from './http-route.ts';

/** The login for an address (a URL), if there is one. Its errors are KinaErrors. */
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

  /** What this server is known to want, so that a body need not be sent twice. `scope` is what the request needs. */
  async known(address: string, scope: string | undefined): Promise<string | undefined> {
    if (this.#basic.has(originOf(address))) return this.#basicFor(await this.#login(address));
    if (scope === undefined || !this.#tokens.knows(address)) return undefined;
    const login = await this.#login(address);
    return login && 'token' in login ? undefined : this.#tokens.known(address, scope, login);
  }

  /**
   * The `Authorization` value that answers a 401, or undefined when there is none. `rejected` is the value that the server
   * just refused, so that it is not offered again.
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

  /** Where the login for an address came from; undefined without one. */
  async sourceOf(address: string): Promise<string | undefined> {
    return (await this.#find(address))?.source;
  }

  /** The text without any secret that was used so far; whole ones only, so cut it afterwards. */
  mask(text: string): string {
    let masked = text;
    // The longer ones first: of one that begins with another, the rest would stay.
    for (const secret of [...this.#secrets].sort((a, b) => b.length - a.length))
      masked = masked.replaceAll(secret, '***');
    return masked;
  }

  /** From now on this is masked, however a server may spell it: as it is, in JSON, in a URL or a form. */
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
    // Token servers get the pair too.
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
