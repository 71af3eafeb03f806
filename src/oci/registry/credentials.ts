/**
 * The logins of `docker login`, `podman login` and `skopeo login` on this machine. kina stores no logins.
 *
 * The files are those of containers-auth.json(5), in its order: only $REGISTRY_AUTH_FILE when it is set, else
 * containers/auth.json in $XDG_RUNTIME_DIR and then in the configuration folder, and last Docker's config.json
 * ($DOCKER_CONFIG). The first file with a login for the registry wins. In a file, the credential helper of the registry comes
 * before the general helper, and that before stored logins. A key may include a repository path; the longest match wins.
 * Helpers use the protocol of github.com/docker/docker-credential-helpers.
 *
 * These files and programs contain passwords, so errors name the file or the program and never their content. The message of a
 * JSON parser is not shown, because it quotes.
 */

import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { Environment } from '../../host/environment.ts';
import { isErrno, KinaError } from '../../host/errors.ts';
import type { Login } from '../../host/http-bearer.ts';
import type { FindLogin } from '../../host/http-login.ts';
import { dockerHubHosts } from '../reference.ts';

const entry = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
});
const schema = z.looseObject({
  auths: z.record(z.string(), entry).nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: z.string().nullish(),
});
const helperAnswer = z.looseObject({ Username: z.string(), Secret: z.string() });

interface AuthFile extends z.infer<typeof schema> {
  readonly path: string;
}

/** The name of Docker Hub in calls of credential helpers. */
const hubServer = 'https://index.docker.io/v1/';
/** Milliseconds. A helper may ask a person to unlock a key store. */
const helperTimeout = 60_000;

/**
 * Finds the login for a registry's URL. Files are read once, when the first server asks. The finder throws `usage` for
 * an unreadable file and for a helper that is missing or fails.
 */
export function registryLogins(env: Environment): FindLogin {
  let files: Promise<AuthFile[]> | undefined;
  const known = new Map<string, Promise<Login | undefined>>();
  return async (address) => {
    const { host, pathname } = new URL(address);
    const repository = /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(pathname)?.[1] ?? '';
    const key = `${host}/${repository}`;
    files ??= readFiles(env);
    const login = known.get(key) ?? files.then((read) => find(read, host, repository, env));
    known.set(key, login);
    return login;
  };
}

async function find(
  files: readonly AuthFile[],
  host: string,
  repository: string,
  env: Environment,
): Promise<Login | undefined> {
  const names = dockerHubHosts.includes(host) ? dockerHubHosts : [host];
  for (const file of files) {
    const named = Object.entries(file.credHelpers ?? {}).find(([key]) => names.includes(bare(key)));
    const login =
      (named && (await askHelper(named[1], named[0], file, env))) ??
      (file.credsStore ? await askHelper(file.credsStore, serverOf(file, names), file, env) : undefined) ??
      written(file, names, repository);
    if (login) return login;
  }
  return undefined;
}

/** `https://host/v1/` and `host/` are `host`; the path of a repository stays. */
function bare(key: string): string {
  return key
    .replace(/^https?:\/\//, '')
    .replace(/\/+$/, '')
    .replace(/\/v[12]$/, '');
}

/** Helpers find a login by the server name that it was stored with. */
function serverOf({ auths }: AuthFile, names: readonly string[]): string {
  const known = Object.keys(auths ?? {}).find((key) => names.includes(bare(key)));
  return known ?? (names === dockerHubHosts ? hubServer : (names[0] as string));
}

function written(file: AuthFile, names: readonly string[], repository: string): Login | undefined {
  const fitting = Object.entries(file.auths ?? {})
    .filter(([key]) => names.some((name) => `${name}/${repository}/`.startsWith(`${bare(key)}/`)))
    .sort(([a], [b]) => bare(b).length - bare(a).length);
  for (const [key, { auth, username, password, identitytoken }] of fitting) {
    const source = `${file.path} for ${bare(key)}`;
    if (identitytoken) return { source, refreshToken: identitytoken };
    if (username !== undefined && password !== undefined) return { source, username, password };
    if (!auth) continue; // docker leaves an empty entry where a helper has the secret
    const pair = Buffer.from(auth, 'base64').toString('utf8');
    const colon = pair.indexOf(':');
    if (colon < 1)
      throw new KinaError(
        'usage',
        `the login in ${source} is not readable: its \`auth\` is not USER:PASSWORD in base64`,
        {
          hint: 'Log in again.',
        },
      );
    return { source, username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, '') };
  }
  return undefined;
}

async function askHelper(
  name: string,
  server: string,
  { path }: AuthFile,
  env: Environment,
): Promise<Login | undefined> {
  const program = `docker-credential-${name}`;
  const refuse = (problem: string) =>
    new KinaError('usage', `${program}, which ${path} names for ${bare(server)}, ${problem}`, {
      hint: `Try \`echo ${bare(server)} | ${program} get\`, or log in again with another helper or none.`,
    });
  if (!/^[\w.-]+$/.test(name)) throw refuse('is not the name of a program');
  // Loaded when a helper is asked: what starts programs is much code, and most builds start none.
  const { run } = await import('../../host/process.ts');
  const result = await run([program, 'get'], { input: server, timeout: helperTimeout, env }).catch((error) => {
    throw error instanceof KinaError && error.code === 'not-found' ? refuse('is not installed') : error;
  });
  if (/credentials not found/i.test(result.stdout)) return undefined;
  if (result.code !== 0) throw refuse(result.timedOut ? 'did not answer' : `failed with exit code ${result.code}`);
  const answer = helperAnswer.safeParse(parseJson(result.stdout));
  if (!answer.success) throw refuse('did not answer with a login');
  const { Username: username, Secret: secret } = answer.data;
  return username === '<token>'
    ? { source: program, refreshToken: secret }
    : { source: program, username, password: secret };
}

async function readFiles(env: Environment): Promise<AuthFile[]> {
  const found: AuthFile[] = [];
  for (const path of paths(env)) {
    const text = await readFile(path, 'utf8').catch((error) => {
      // The folder of root's podman is closed to others.
      if (isErrno(error, 'ENOENT', 'ENOTDIR') || (isErrno(error, 'EACCES') && path.startsWith('/run/')))
        return undefined;
      throw new KinaError('usage', `the registry logins in ${path} cannot be read: ${(error as Error).message}`);
    });
    if (text === undefined || text.trim() === '') continue;
    const parsed = schema.safeParse(parseJson(text));
    if (!parsed.success)
      throw new KinaError('usage', `${path} is not a file of registry logins`, {
        details: parsed.error.issues.slice(0, 5).map(({ path: at, code }) => `${at.join('.') || 'document'}: ${code}`),
        hint: 'It is JSON, as `docker login` and `podman login` write it. Correct or remove it.',
      });
    found.push({ ...parsed.data, path });
  }
  return found;
}

function paths(env: Environment): string[] {
  if (env.REGISTRY_AUTH_FILE) return [env.REGISTRY_AUTH_FILE];
  const home = env.HOME || homedir();
  return [
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'containers/auth.json')] : []),
    ...(!env.XDG_RUNTIME_DIR && process.getuid ? [`/run/containers/${process.getuid()}/auth.json`] : []),
    join(env.XDG_CONFIG_HOME || join(home, '.config'), 'containers/auth.json'),
    join(env.DOCKER_CONFIG || join(home, '.docker'), 'config.json'),
  ];
}

/** Without the parser's words: they quote the text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
