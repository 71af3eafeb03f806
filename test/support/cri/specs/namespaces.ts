/** What a container sees of other processes, shared memory and listeners, as its namespaces say. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { NamespaceMode } from '../../../../src/cri/api/messages.ts';
import { check, run } from '../../command.ts';
import { pathOf } from '../../requirements.ts';
import { type TestPod, until } from '../pods.ts';
import { pull, refused, Skip, type Spec, secured, type World, withContainer, withPod } from './spec.ts';

const nginx = 'registry.k8s.io/e2e-test-images/nginx:1.14-2';

const sharing = (pid: NamespaceMode, targetId = '') => secured({ namespaceOptions: { pid, targetId } });

/** nginx with this mode of its processes; answers with its id when it serves. */
async function runNginx(world: World, pod: TestPod, mode: NamespaceMode): Promise<string> {
  await pull(world, nginx);
  const containerId = await world.pods.create(pod, 'nginx', [], { image: { image: nginx }, ...sharing(mode) });
  await world.client.call('startContainer', { containerId });
  await until('nginx serves', 20, async () =>
    (await world.pods.exec(containerId, 'test -s /var/run/nginx.pid')).exitCode === 0 ? true : undefined,
  );
  return containerId;
}

const firstProcess = (title: string, mode: NamespaceMode, isOwn: boolean): Spec => ({
  title,
  run: (world) =>
    withPod(world, sharing(mode), async (pod) => {
      const id = await runNginx(world, pod, mode);
      const name = await world.pods.output(id, 'tr "\\0" " " </proc/1/cmdline');
      assert.equal(name.includes('nginx'), isOwn, name);
    }),
});

export const namespaces: readonly Spec[] = [
  {
    title: 'containers with the node’s processes see each other’s',
    run: (world) =>
      withPod(world, sharing('NODE'), async (pod) => {
        const number = await world.pods.output(await runNginx(world, pod, 'NODE'), 'cat /var/run/nginx.pid');
        const other = await world.pods.run(pod, 'other', 'sleep 1000', sharing('NODE'));
        const seen = (await world.pods.output(other, 'pidof nginx')).split(' ');
        assert.ok(seen.includes(number), `${number} among ${seen}`);
        // which the pod's processes are not enough for
        await world.pods.run(pod, 'alone', 'exec sleep 4245', sharing('CONTAINER'));
        await world.pods.output(other, 'pgrep -f "[s]leep 4245"');
      }),
  },
  {
    title: 'shared memory of the host is not a pod’s',
    async run(world) {
      for (const program of ['ipcmk', 'ipcrm'])
        if (!pathOf(program)) throw new Skip(`${program} is not installed here`);
      const id = /(\d+)\s*$/.exec(await check(['ipcmk', '-M', '1048576']))![1]!;
      const options = secured({ namespaceOptions: { ipc: 'POD', pid: 'POD', network: 'POD' } });
      try {
        const own = (await check(['ipcs', '-m'])).split('\n').find((line) => line.split(/\s+/)[1] === id)!;
        const key = own.split(/\s+/)[0]!;
        await withContainer(
          world,
          options,
          async (container) => assert.ok(!(await world.pods.output(container, 'ipcs -m')).includes(key)),
          options,
        );
      } finally {
        await run(['ipcrm', '-m', id]);
      }
    },
  },
  firstProcess('a container with its pod’s processes is not the first of them', 'POD', false),
  firstProcess('a container with processes of its own is the first of them', 'CONTAINER', true),
  {
    title: 'a listener of the host is not reachable in a pod',
    async run(world) {
      const server = createServer().listen(0, '0.0.0.0');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      try {
        await withContainer(world, secured({ namespaceOptions: { network: 'POD' } }), async (id) =>
          assert.ok(!(await world.pods.output(id, 'netstat -ltn')).includes(`:${port} `)),
        );
      } finally {
        server.close();
      }
    },
  },
];

/** The fourth way to share processes, for which the list of 109 has nothing: a debugging container's. */
export const targets: readonly Spec[] = [
  {
    title: 'a container with another’s processes sees them, and not the pod’s other ones',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const target = await world.pods.run(pod, 'target', 'exec sleep 4243', sharing('CONTAINER'));
        await world.pods.run(pod, 'other', 'exec sleep 4244', sharing('CONTAINER'));
        const id = await world.pods.run(pod, 'debugger', 'sleep 1000', sharing('TARGET', target));
        const seen = await world.pods.output(id, 'ps');
        assert.match(seen, /\b1\b.*sleep 4243/);
        assert.doesNotMatch(seen, /sleep 4244/);
      }),
  },
  {
    title: 'a container with the processes of one that is not there is refused',
    run: (world) =>
      withPod(world, {}, (pod) =>
        refused(world.pods.create(pod, 'debugger', ['top'], sharing('TARGET', 'f'.repeat(64)))),
      ),
  },
];
