import { describe, expect, test } from 'vitest';
import { isLoopback, Routes, redact } from '../../../src/host/http-route.ts';

describe('addresses', () => {
  test('a mirror holds a folder per upstream host; upstream is never asked besides', () => {
    const routes = new Routes({ mirrors: ['http://mirror.test/kina/', 'http://second.test'] });
    expect(routes.addresses('https://dl.k8s.io/v1.20.2/bin?x=1')).toEqual([
      'http://mirror.test/kina/dl.k8s.io/v1.20.2/bin?x=1',
      'http://second.test/dl.k8s.io/v1.20.2/bin?x=1',
    ]);
  });

  test('addresses that a person chose are not mapped: plain http, files', () => {
    const routes = new Routes({ mirrors: ['http://mirror.test'] });
    expect(routes.addresses('http://intranet.test/a.tar')).toEqual(['http://intranet.test/a.tar']);
    expect(routes.addresses('file:///srv/a.tar')).toEqual(['file:///srv/a.tar']);
  });

  test('a mirror for one host wins over the mirror for all, and its port counts', () => {
    const routes = new Routes({
      mirrors: ['http://all.test'],
      hostMirrors: { 'Registry.test:5000': 'https://one.test/r' },
    });
    expect(routes.addresses('https://registry.test:5000/v2/x')).toEqual(['https://one.test/r/v2/x']);
    expect(routes.addresses('https://registry.test/v2/x')).toEqual(['http://all.test/registry.test/v2/x']);
  });

  test('a prefix resolves to its base as it is, the longest first; pool paths keep + and ~', () => {
    const routes = new Routes({
      mirrors: ['http://mirror.test'],
      prefixes: {
        'debian:debian/': 'https://a.test/debian',
        'debian:debian-security/': 'http://s.test/debian-security/',
      },
    });
    expect(routes.addresses('debian:debian/pool/main/b/bash/bash_5.2~rc1+b2_amd64.deb')).toEqual([
      'https://a.test/debian/pool/main/b/bash/bash_5.2~rc1+b2_amd64.deb',
    ]);
    expect(routes.addresses('debian:debian-security/dists/x')).toEqual(['http://s.test/debian-security/dists/x']);
    expect(() => routes.addresses('debian:unknown/x')).toThrow(/cannot fetch debian:unknown\/x/);
  });

  test('dots cannot climb out of a mirror', () => {
    const routes = new Routes({ mirrors: ['http://mirror.test/base'] });
    expect(routes.addresses('https://dl.k8s.io/../%2e%2e/secret')).toEqual([
      'http://mirror.test/base/dl.k8s.io/secret',
    ]);
  });

  test.each(['ftp://x.test', 'mirror.test', ''])('%j is not a mirror', (mirror) => {
    expect(() => new Routes({ mirrors: [mirror] })).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

test('messages never show passwords or the signatures of redirects', () => {
  expect(redact('https://me:secret@host.test/p?a=1')).toBe('https://***@host.test/p?a=1');
  expect(redact('https://s3.test/b?X-Amz-Signature=abc&X-Amz-Credential=def&part=2')).toBe(
    'https://s3.test/b?X-Amz-Signature=***&X-Amz-Credential=***&part=2',
  );
  expect(redact('//me:secret@host:port')).toBe('//***@host:port');
  expect(redact('https://host.test/a b')).toBe('https://host.test/a b');
});

test('this machine is known by all its names', () => {
  for (const name of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]', '::1'])
    expect(isLoopback(name)).toBe(true);
  for (const name of ['localhost.test', '128.0.0.1', '127.0.0.1.test', 'x']) expect(isLoopback(name)).toBe(false);
});
