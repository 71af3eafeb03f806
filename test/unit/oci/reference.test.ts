import { describe, expect, test } from 'vitest';
import { formatReference, parseReference, repositoryUrl } from '../../../src/oci/reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('what names mean', () => {
  test.each([
    ['busybox', 'docker.io/library/busybox:latest', 'https://registry-1.docker.io/v2/library/busybox'],
    ['kindest/node:v1.34.0', 'docker.io/kindest/node:v1.34.0', 'https://registry-1.docker.io/v2/kindest/node'],
    ['index.docker.io/busybox', 'docker.io/library/busybox:latest', 'https://registry-1.docker.io/v2/library/busybox'],
    ['registry.k8s.io/pause:3.10', 'registry.k8s.io/pause:3.10', 'https://registry.k8s.io/v2/pause'],
    [
      'registry.k8s.io/coredns/coredns:v1.11',
      'registry.k8s.io/coredns/coredns:v1.11',
      'https://registry.k8s.io/v2/coredns/coredns',
    ],
    ['localhost/kina/node:v1', 'localhost/kina/node:v1', 'http://localhost/v2/kina/node'],
    ['localhost:5000/a', 'localhost:5000/a:latest', 'http://localhost:5000/v2/a'],
    ['127.0.0.1:5000/a:b', '127.0.0.1:5000/a:b', 'http://127.0.0.1:5000/v2/a'],
    ['[::1]:5000/a', '[::1]:5000/a:latest', 'http://[::1]:5000/v2/a'],
    ['host.test:8443/a/b/c__d', 'host.test:8443/a/b/c__d:latest', 'https://host.test:8443/v2/a/b/c__d'],
    [`pause@${digest}`, `docker.io/library/pause@${digest}`, 'https://registry-1.docker.io/v2/library/pause'],
    [`h.test/p:1@${digest}`, `h.test/p:1@${digest}`, 'https://h.test/v2/p'],
    // A host needs a dot, a colon, an upper-case letter, or the name localhost.
    ['myhost/a', 'docker.io/myhost/a:latest', 'https://registry-1.docker.io/v2/myhost/a'],
  ])('%s', (text, full, url) => {
    const parsed = parseReference(text);
    expect(formatReference(parsed)).toBe(full);
    expect(repositoryUrl(parsed)).toBe(url);
    expect(parseReference(full)).toEqual(parsed);
  });
});

test.each([
  ['', 'not a name'],
  ['Busybox', 'lower case'],
  ['a/../b', 'not a name'],
  ['a//b', 'not a name'],
  ['https://registry.k8s.io/pause', 'not a host'],
  ['a:', 'not a tag'],
  ['a:b:c', 'not a tag'],
  ['a:-x', 'not a tag'],
  [`a:${'x'.repeat(129)}`, 'not a tag'],
  ['a@sha256:abc', 'a digest must be sha256'],
  [`a@sha512:${'a'.repeat(128)}`, 'a digest must be sha256'],
  ['user:pw@host.test/a', 'a digest must be sha256'],
  ['-x.test/a', 'not a host'],
])('%j is refused', (text, problem) => {
  expect(() => parseReference(text)).toThrow(
    expect.objectContaining({ code: 'usage', message: expect.stringContaining(problem) }),
  );
});
