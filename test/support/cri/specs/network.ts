/** A pod's names and addresses, and several containers behind one of them. */
import assert from 'node:assert/strict';
import { freePorts } from '../../../../src/host/ports.ts';
import { type TestPod, until } from '../pods.ts';
import { logged, page, pull, type Spec, type World, withContainer, withPod } from './spec.ts';

const nginx = 'registry.k8s.io/e2e-test-images/nginx:1.14-2';
const httpd = 'registry.k8s.io/e2e-test-images/httpd:2.4.39-4';

/** Starts what the image starts by itself. */
export async function runServer(world: World, pod: TestPod, image = nginx): Promise<string> {
  await pull(world, image);
  const containerId = await world.pods.create(pod, 'server', [], { image: { image } });
  await world.client.call('startContainer', { containerId });
  return containerId;
}

export async function addressOf({ pods }: World, pod: TestPod): Promise<string> {
  const { network } = await pods.sandboxStatus(pod.id);
  assert.ok(network?.ip, 'the pod has an address');
  return network.ip;
}

/** A pod with a web server and a container that says something. */
const severalContainers = (title: string, use: (world: World, pod: TestPod, ids: string[]) => Promise<void>): Spec => ({
  title,
  run: (world) =>
    withPod(world, { portMappings: [{ containerPort: 80 }] }, async (pod) => {
      const server = await runServer(world, pod, httpd);
      const second = await world.pods.run(pod, 'second', 'echo second; sleep 1000');
      for (const id of [server, second]) assert.equal((await world.pods.status(id)).state, 'CONTAINER_RUNNING');
      await use(world, pod, [server, second]);
    }),
});

const lineIn = (pod: TestPod, name: string, wanted: string) =>
  until(`${wanted} in the log of ${name}`, 20, async () => {
    const all = [...(await logged(pod, name)), ...(await logged(pod, name, 'stderr'))];
    return all.some((line) => line.includes(wanted)) ? true : undefined;
  });

export const network: readonly Spec[] = [
  {
    title: 'resolv.conf has the servers, domains and options that the pod was given',
    async run(world) {
      const dnsConfig = { servers: ['10.10.10.10'], searches: ['google.com'], options: ['ndots:8'] };
      const check = async (id: string) => {
        const lines = (await world.pods.output(id, 'cat /etc/resolv.conf')).split('\n').filter(Boolean);
        assert.deepEqual(lines.sort(), ['nameserver 10.10.10.10', 'options ndots:8', 'search google.com']);
      };
      await withContainer(world, {}, check, { dnsConfig });
    },
  },
  {
    title: 'a container has its pod’s host name',
    run: (world) =>
      withContainer(world, {}, async (id) => assert.equal(await world.pods.output(id, 'hostname'), 'a-host-name'), {
        hostname: 'a-host-name',
      }),
  },
  {
    title: 'a server in a pod answers this host at the pod’s address',
    run: (world) =>
      withPod(world, { portMappings: [{ containerPort: 80 }] }, async (pod) => {
        await runServer(world, pod);
        assert.match(await page(`http://${await addressOf(world, pod)}/`), /It works/);
      }),
  },
  {
    title: 'a server in a pod answers at the host’s port that the pod asked for',
    async run(world) {
      const [hostPort] = (await freePorts(['127.0.0.1'], new Set())) as [number];
      await withPod(world, { portMappings: [{ containerPort: 80, hostPort }] }, async (pod) => {
        await runServer(world, pod);
        assert.match(await page(`http://127.0.0.1:${hostPort}/`), /It works/);
      });
    },
  },
];

export const several: readonly Spec[] = [
  severalContainers(
    'one of two containers answers at the pod’s address, and the other reaches it',
    async (world, pod, ids) => {
      assert.match(await page(`http://${await addressOf(world, pod)}/`), /It works/);
      assert.match(await world.pods.output(ids[1]!, 'wget -q -O - http://localhost/'), /It works/);
    },
  ),
  severalContainers('two containers of a pod have a log each', async (_, pod) => {
    await lineIn(pod, 'server', 'httpd');
    await lineIn(pod, 'second', 'second');
  }),
  severalContainers('programs are run in the container of two that is named', async (world, _, [server, second]) => {
    assert.equal(await world.pods.output(server!, 'echo one; ls /etc/apache2'), 'one\napache2.conf');
    const { exitCode, stdout } = await world.pods.exec(second!, 'echo two; ls /etc/apache2');
    assert.equal(stdout, 'two\n');
    assert.notEqual(exitCode, 0);
  }),
];
