/** Who is told a login: a secret that reaches the wrong server is lost. */
import { expect, test } from 'vitest';
import { type PullCredentials, pullLogins } from '../../../../src/cri/images/credentials.ts';
import type { FindLogin } from '../../../../src/host/http-login.ts';

const fromFile: FindLogin = async () => ({ source: 'a file', username: 'file', password: 'f' });
const base64 = (text: string) => Buffer.from(text).toString('base64');

async function login(
  credentials: PullCredentials | undefined,
  address: string,
  reference = 'r.example/a',
  mirror?: string,
) {
  const hostMirrors: Record<string, string> = mirror === undefined ? {} : { 'r.example': mirror };
  return pullLogins(reference, credentials, { findLogin: fromFile, hostMirrors })?.(address);
}

test.each<[string, PullCredentials, object]>([
  ['a name and a password', { username: 'u', password: 'p' }, { username: 'u', password: 'p' }],
  ['a pair in base64, padded as Docker pads', { auth: base64('u:p:q\0\0') }, { username: 'u', password: 'p:q' }],
  ['an identity token', { identityToken: 'i' }, { refreshToken: 'i' }],
  ['a registry token', { registryToken: 'r' }, { token: 'r' }],
  ['nothing but empty fields', { username: '', password: '', auth: '' }, { username: 'file' }],
])('%s', async (_, credentials, expected) =>
  expect(await login(credentials, 'https://r.example/v2/a/manifests/v1')).toMatchObject(expected),
);

test('the request goes before the files; a request without a login leaves it to them', async () => {
  expect(await login(undefined, 'https://r.example/v2/')).toMatchObject({ username: 'file' });
  expect(pullLogins('a', undefined, {})).toBeUndefined();
});

test('other servers never see it: storage behind the registry, a mirror of everything', async () => {
  const own = { username: 'u', password: 'p' };
  for (const address of [
    'https://storage.example/blob',
    'https://mirror.example/r.example/v2/a',
    'https://r.example:444/v2/',
  ])
    expect(await login(own, address)).toMatchObject({ username: 'file' });
  // who put another address in the registry's place means it
  expect(await login(own, 'http://127.0.0.1:5000/v2/a', 'r.example/a', 'http://127.0.0.1:5000')).toMatchObject(own);
});

test('a login for another server is not used', async () => {
  const own = { username: 'u', password: 'p' };
  const asked = (serverAddress: string, address: string, reference: string) =>
    login({ ...own, serverAddress }, address, reference);
  expect(await asked('other.example', 'https://r.example/v2/', 'r.example/a')).toMatchObject({ username: 'file' });
  expect(await asked('https://r.example/v1/', 'https://r.example/v2/', 'r.example/a')).toMatchObject(own);
  // Docker Hub has three names
  expect(await asked('https://index.docker.io/v1/', 'https://registry-1.docker.io/v2/', 'busybox')).toMatchObject(own);
});

test('an unreadable pair is refused without being shown', () => {
  const secret = base64('nocolonsecret');
  expect(() => pullLogins('a', { auth: secret }, {})).toThrow(/not readable/);
  expect(() => pullLogins('a', { auth: secret }, {})).not.toThrow(new RegExp(secret));
});
