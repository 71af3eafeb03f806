import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { haproxyConfig } from '../../../src/cluster/load-balancer.ts';
import { describeUnless, missing } from '../../support/requirements.ts';

const servers = [
  { name: 'ha-control-plane', address: '10.89.0.2' },
  { name: 'ha-control-plane2', address: 'fd00::3' },
  { name: 'ha-control-plane3' },
];

const line = (config: string, start: string) => config.split('\n').find((l) => l.trim().startsWith(start));

test('an IPv6 address is told from its port, a name stands for itself', () => {
  const config = haproxyConfig({ servers, port: 6443, ipv6: true });
  expect(line(config, 'server ha-control-plane ')).toBe('  server ha-control-plane 10.89.0.2:6443');
  expect(line(config, 'server ha-control-plane2 ')).toBe('  server ha-control-plane2 [fd00::3]:6443');
  expect(line(config, 'server ha-control-plane3 ')).toBe('  server ha-control-plane3 ha-control-plane3:6443');
});

// In a container without IPv6 a socket for it cannot be opened, and HAProxy would not start at all.
test('IPv6 is listened on only where the cluster has it', () => {
  expect(haproxyConfig({ servers, port: 6443, ipv6: false })).not.toContain(':::');
  expect(haproxyConfig({ servers, port: 6443, ipv6: true })).toContain('bind :::6443 v6only');
});

describeUnless(missing(['haproxy']), 'HAProxy', () => {
  const write = async (config: string): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), 'kina-haproxy-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, 'haproxy.cfg');
    await writeFile(file, config);
    return file;
  };

  test.each([
    ['no control plane yet', [], false],
    ['three, one of them with an unknown name', servers, true],
  ])('takes the configuration for %s', async (_, some, ipv6) => {
    const file = await write(haproxyConfig({ servers: some, port: 6443, ipv6 }));
    const { stderr } = await promisify(execFile)('haproxy', ['-c', '-f', file]);
    const complaints = stderr.split('\n').filter((l) => /WARNING|ALERT/.test(l));
    expect(complaints.filter((l) => !l.includes('could not resolve address'))).toEqual([]);
  });
});
