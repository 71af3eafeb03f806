/**
 * The login of a pull request (kubelet's image pull secrets) comes before those in this machine's files. It is sent to the
 * registry of the image, and to the mirror that the configuration names for that registry, but never to another server, even if
 * the registry redirects to it.
 */
import { KinaError } from '../../host/errors.ts';
import type { Login } from '../../host/http-bearer.ts';
import type { FindLogin } from '../../host/http-login.ts';
import { dockerHubHosts, parseReference, repositoryUrl } from '../../oci/reference.ts';

/** As `runtime.v1.AuthConfig`; an empty string is the same as undefined. */
export interface PullCredentials {
  readonly username?: string;
  readonly password?: string;
  /** `USER:PASSWORD` in base64. */
  readonly auth?: string;
  /** Host or URL that the login is for. */
  readonly serverAddress?: string;
  /** Exchanged for a token at the registry's token server. */
  readonly identityToken?: string;
  /** Sent unchanged. */
  readonly registryToken?: string;
}

const source = 'the pull request';

/**
 * The logins for the pull of one image: that of the request, else those of this machine's files. `hostMirrors` as in the
 * transport. Throws `usage` when `auth` cannot be read.
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
      'the login of the pull request is not readable: `auth` is not USER:PASSWORD in base64',
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
  return (
    hosts.includes(named) || (dockerHubHosts.includes(named) && hosts.some((host) => dockerHubHosts.includes(host)))
  );
}
