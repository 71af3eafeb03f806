/**
 * The login that a pull brings along (kubelet's image pull secrets) goes before those that this machine's files hold. It is
 * for the registry of the image, and for the address that configuration put in that registry's place; no other server is
 * shown it, wherever the registry redirects to.
 */
import { KinaError } from '../../host/errors.ts';
import type { Login } from '../../host/http-bearer.ts';
import type { FindLogin } from '../../host/http-login.ts';
import { parseReference, repositoryUrl } from '../../oci/reference.ts';

/** As `runtime.v1.AuthConfig`; empty strings are as good as nothing. */
export interface PullCredentials {
  readonly username?: string;
  readonly password?: string;
  /** `USER:PASSWORD` in base64. */
  readonly auth?: string;
  /** Host or URL that the login is for; others do not get it. */
  readonly serverAddress?: string;
  /** Exchanged for a token at the registry's token server. */
  readonly identityToken?: string;
  /** Sent as it is. */
  readonly registryToken?: string;
}

const source = 'the pull request';
/** Docker Hub's own names for itself. */
const hub = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];

/**
 * A finder for one image's pull; `files` when the request brings nothing for its registry. `hostMirrors` as the transport has
 * them. Throws `usage` when `auth` cannot be read.
 */
export function pullLogins(
  reference: string,
  credentials: PullCredentials | undefined,
  options: { hostMirrors?: Readonly<Record<string, string>> | undefined; findLogin?: FindLogin | undefined },
): FindLogin | undefined {
  const files = options.findLogin;
  const parsed = parseReference(reference);
  const host = new URL(repositoryUrl(parsed)).host;
  const login = credentials && loginOf(credentials);
  if (!login || !isFor(credentials.serverAddress, [parsed.registry, host])) return files;
  const mirror = options.hostMirrors?.[host];
  const hosts = [host, ...(mirror === undefined ? [] : [new URL(mirror).host])];
  return async (address) => (hosts.includes(new URL(address).host) ? login : files?.(address));
}

function loginOf({ username, password, auth, identityToken, registryToken }: PullCredentials): Login | undefined {
  if (username) return { source, username, password: password ?? '' };
  if (identityToken) return { source, refreshToken: identityToken };
  if (registryToken) return { source, token: registryToken };
  if (!auth) return undefined;
  const pair = Buffer.from(auth, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  if (colon < 1)
    throw new KinaError(
      'usage',
      'the login of the pull request is not readable: `auth` is no USER:PASSWORD in base64',
      {
        hint: 'Correct the image pull secret.',
      },
    );
  // Docker pads the pair with zero bytes.
  return { source, username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, '') };
}

function isFor(server: string | undefined, hosts: readonly string[]): boolean {
  if (!server) return true;
  const url = server.includes('://') ? server : `https://${server}`;
  const named = URL.canParse(url) ? new URL(url).host : server;
  return hosts.includes(named) || (hub.includes(named) && hosts.some((host) => hub.includes(host)));
}
