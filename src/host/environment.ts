/**
 * The environment variables of this process. This is the only module that reads `process.env`
 * (`scripts/check-imports.ts` checks it); everything else gets an `Environment` or a value taken from one, so that
 * programs that use kina as a library, and tests, decide what it sees.
 */

/** Variable name to value. A variable that is set to nothing is an empty string. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** For the command line and for `openSession`; other modules take an `Environment`. */
export function processEnvironment(): Environment {
  return process.env;
}

/** Where requests go through a proxy, as curl and Go read the variables. */
export interface Proxies {
  /** URL, or `HOST:PORT`. */
  readonly http?: string | undefined;
  readonly https?: string | undefined;
  /** Comma-separated list of hosts that are reached without a proxy. */
  readonly none?: string | undefined;
}

/** HTTP_PROXY, HTTPS_PROXY and NO_PROXY; the lower-case names win. */
export function proxiesOf(environment: Environment): Proxies {
  const variable = (name: string) => environment[name.toLowerCase()] || environment[name] || undefined;
  return { http: variable('HTTP_PROXY'), https: variable('HTTPS_PROXY'), none: variable('NO_PROXY') };
}
