/** From a configuration to nodes: published ports and proxies, where a wrong guess shows only in a running cluster. */
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { apiServerOf, loadBalancerSpec, nodeSpecs, proxies } from '../../../src/cluster/specs.ts';
import { kind, load } from './config-support.ts';

const around = {
  host: process.env,
  network: 'kina',
  subnets: ['10.89.0.0/24'],
  image: 'localhost/node:1',
  balanced: false,
};

describe('ports', () => {
  test('0 is a port of its own for every node, known before the node is made', async () => {
    const mapping = 'extraPortMappings: [{containerPort: 80}, {containerPort: 81, protocol: UDP}]';
    const cluster = load(kind(`nodes: [{${mapping}}, {role: worker, ${mapping}}]`));
    const ports = (await nodeSpecs(cluster, around)).flatMap((spec) => spec.ports ?? []);
    expect(ports).toHaveLength(5);
    expect(new Set(ports.map((port) => port.hostPort)).size).toBe(5);
    expect(ports.every((port) => port.hostPort > 0)).toBe(true);
    expect(ports[1]).toMatchObject({ address: '0.0.0.0', containerPort: 81, protocol: 'UDP' });
  });

  test('-1 is left to the runtime, a number stays', async () => {
    const cluster = load(
      kind(
        'networking: {apiServerPort: -1}\nnodes: [{extraPortMappings: [{containerPort: 80, hostPort: 8080, listenAddress: 127.0.0.2}]}]',
      ),
    );
    const [node] = await nodeSpecs(cluster, around);
    expect(node?.ports).toEqual([
      { address: '127.0.0.2', hostPort: 8080, containerPort: 80, protocol: 'TCP' },
      { address: '127.0.0.1', hostPort: 0, containerPort: 6443, protocol: 'TCP' },
    ]);
  });

  test('behind a load balancer only that one has the configured address and port', async () => {
    const cluster = load(
      kind(
        'networking: {apiServerAddress: 192.0.2.1, apiServerPort: 7443}\nnodes: [{role: control-plane}, {role: control-plane}, {role: control-plane}]',
      ),
    );
    const specs = await nodeSpecs(cluster, { ...around, balanced: true });
    for (const { ports } of specs) {
      expect(ports).toMatchObject([{ address: '127.0.0.1', containerPort: 6443 }]);
      expect(ports?.[0]?.hostPort).not.toBe(7443);
    }
    expect(await loadBalancerSpec(cluster, 'kina', 'balancer')).toMatchObject({
      privileged: false,
      ports: [{ address: '192.0.2.1', hostPort: 7443, containerPort: 6443 }],
    });
  });

  test('a port in use is not picked', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await new Promise((done) => server.once('listening', done));
    const taken = (server.address() as { port: number }).port;
    const [node] = await nodeSpecs(load(undefined), around);
    expect(node?.ports?.[0]?.hostPort).not.toBe(taken);
  });

  const published = (address: string, role = 'control-plane') => ({
    name: `c-${role}`,
    cluster: 'c',
    role,
    state: 'running' as const,
    image: 'x',
    labels: {},
    ports: [{ address, hostPort: 7000, containerPort: 6443, protocol: 'TCP' as const }],
  });
  test.each([
    ['127.0.0.1', 'https://127.0.0.1:7000'],
    // what listens everywhere is asked on the loopback, which the certificate and every host have
    ['0.0.0.0', 'https://127.0.0.1:7000'],
    ['::', 'https://[::1]:7000'],
    ['2001:db8::1', 'https://[2001:db8::1]:7000'],
  ])('an API server published on %s is %s', (address, server) => {
    expect(apiServerOf({ name: 'c' }, [published(address)])).toBe(server);
  });
  test('the load balancer comes before the control planes', () => {
    const balancer = { ...published('127.0.0.1', 'external-load-balancer') };
    const other = { ...published('127.0.0.1'), ports: [] };
    expect(apiServerOf({ name: 'c' }, [other, balancer])).toBe('https://127.0.0.1:7000');
  });
});

describe('proxies', () => {
  const cluster = load(kind('name: c\nnodes: [{role: control-plane}, {role: worker}]'));

  test('none on the host, none in the nodes, not even NO_PROXY', () => {
    expect(proxies(cluster, ['10.89.0.0/24'], { NO_PROXY: 'x' })).toEqual({});
  });

  test('both spellings, whichever the host has', () => {
    const env = proxies(cluster, [], { https_proxy: 'http://p:1' });
    expect(env).toMatchObject({ HTTPS_PROXY: 'http://p:1', https_proxy: 'http://p:1' });
    expect(env).not.toHaveProperty('HTTP_PROXY');
    expect(env.NO_PROXY).toBe(env.no_proxy);
  });

  test('everything inside the cluster goes without', () => {
    const host = { HTTP_PROXY: 'http://p:1', NO_PROXY: 'corp.example,,10.89.0.0/24' };
    expect(proxies(cluster, ['10.89.0.0/24', 'fd00::/64'], host).NO_PROXY?.split(',')).toEqual([
      '10.89.0.0/24',
      'fd00::/64',
      'corp.example',
      '10.96.0.0/16',
      '10.244.0.0/16',
      'c-control-plane',
      'c-worker',
      'c-external-load-balancer',
      '.svc',
      '.svc.cluster',
      '.svc.cluster.local',
    ]);
  });
});

test('an empty dnsSearch still reaches the node: it means no search line', async () => {
  const environment = async (lines: string) => (await nodeSpecs(load(kind(lines)), around))[0]?.env;
  expect(await environment('networking: {dnsSearch: []}')).toMatchObject({ KIND_DNS_SEARCH: '' });
  expect(await environment('networking: {dnsSearch: [a.example, b]}')).toMatchObject({
    KIND_DNS_SEARCH: 'a.example b',
  });
  expect(await environment('name: c')).not.toHaveProperty('KIND_DNS_SEARCH');
});
