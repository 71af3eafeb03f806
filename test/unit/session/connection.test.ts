import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type ConnectionOptions, openConnection } from '../../../src/session/connection.ts';

const folder = mkdtempSync(join(tmpdir(), 'kina-session-'));
const config = join(folder, 'config.yaml');
writeFileSync(
  config,
  'mirrors: [https://file.example]\ndebian: { mirror: https://file.example/d, securityMirror: https://file.example/s }\n',
);

const connect = (environment: Record<string, string>, options: Partial<ConnectionOptions> = {}) =>
  openConnection({ environment: { KINA_CONFIG: config, ...environment }, version: 'test', ...options });

test('an option wins over a variable, and a variable over the configuration file', async () => {
  const environment = { KINA_MIRROR: 'https://variable.example', KINA_DEBIAN_MIRROR: 'https://variable.example/d/' };
  const file = await connect({});
  expect(file.network.mirrors).toEqual(['https://file.example']);
  expect(file.debianBases.debian).toBe('https://file.example/d');

  const variable = await connect(environment);
  expect(variable.network.mirrors).toEqual(['https://variable.example']);
  expect(variable.debianBases).toMatchObject({
    debian: 'https://variable.example/d',
    'debian-security': 'https://file.example/s',
  });

  const flag = await connect(environment, { mirror: ['https://flag.example'], debianMirror: 'https://flag.example/d' });
  expect(flag.network.mirrors).toEqual(['https://flag.example']);
  expect(flag.debianBases.debian).toBe('https://flag.example/d');
});

test('a base that is not a URL names the setting it comes from', async () => {
  await expect(connect({ KINA_DEBIAN_MIRROR: 'ftp.debian.org' })).rejects.toThrow(/^KINA_DEBIAN_MIRROR /);
  await expect(connect({}, { debianSecurityMirror: 'x' })).rejects.toThrow(/^--debian-security-mirror /);
});

test('proxies come from the given environment alone', async () => {
  expect(
    (await connect({ HTTPS_PROXY: 'http://upper.example', https_proxy: 'http://lower.example' })).network.proxies,
  ).toEqual({
    http: undefined,
    https: 'http://lower.example',
    none: undefined,
  });
});
