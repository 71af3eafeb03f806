/** What `kubectl exec`, `attach` and `port-forward` do, through the URLs that the service answers with. */
import assert from 'node:assert/strict';
import { until } from '../pods.ts';
import { openChannels, openForward } from './channels.ts';
import { addressOf, runServer } from './network.ts';
import { page, type Spec, withContainer, withPod } from './spec.ts';

/** What the error channel says of a command that succeeded. */
const success = { metadata: {}, status: 'Success' };

/** kubelet passes the URL on to clients of its own: it has to be whole. */
function whole(url: string): string {
  assert.match(url, /^https?:\/\/[^/]+\/./);
  return url;
}

export const streams: readonly Spec[] = [
  {
    title: 'a command without input streams what it says, exactly, and its end',
    run: (world) =>
      withContainer(world, {}, async (containerId) => {
        const cmd = ['echo', '-n', 'hello'];
        const { url } = await world.client.call('exec', { containerId, cmd, stdout: true, stderr: true });
        const channels = await openChannels(whole(url), world.transport, ['stdout', 'stderr']);
        await channels.ended().finally(() => channels.close());
        assert.deepEqual([channels.said('stdout'), channels.said('stderr')], ['hello', '']);
        assert.deepEqual(JSON.parse(channels.said('error')), success);
      }),
  },
  {
    title: 'a command on a terminal takes input, says what it says, and knows the terminal’s size',
    run: (world) =>
      withContainer(world, {}, async (containerId) => {
        const line = 'read said; until stty size | grep -q "33 77"; do sleep 0.1; done; echo "<$said>"';
        const cmd = ['sh', '-c', line];
        const asked = { containerId, cmd, stdin: true, stdout: true, tty: true };
        const { url } = await world.client.call('exec', asked);
        const channels = await openChannels(whole(url), world.transport, ['stdin', 'stdout', 'resize']);
        try {
          await channels.send('resize', '{"Width":77,"Height":33}');
          await channels.send('stdin', 'hello\n');
          await channels.ended();
        } finally {
          channels.close();
        }
        assert.match(channels.said('stdout'), /<hello>\r\n$/);
        assert.deepEqual(JSON.parse(channels.said('error')), success);
      }),
  },
  {
    title: 'a container that waits for input is attached to, answers, and ends with the input',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const shell = { stdin: true, stdinOnce: true };
        const containerId = await world.pods.create(pod, 'main', ['/bin/sh'], shell);
        await world.client.call('startContainer', { containerId });
        const asked = { containerId, stdin: true, stdout: true, stderr: true };
        const { url } = await world.client.call('attach', asked);
        const channels = await openChannels(whole(url), world.transport, ['stdin', 'stdout', 'stderr']);
        try {
          await channels.send('stdin', 'echo -n hello\n');
          await until('an answer', 20, async () => (channels.said('stdout') === '' ? undefined : true));
          await channels.finish('stdin');
          await channels.ended();
        } finally {
          channels.close();
        }
        assert.deepEqual([channels.said('stdout'), channels.said('stderr')], ['hello', '']);
        assert.equal((await world.pods.ended(containerId)).exitCode, 0);
      }),
  },
  {
    title: 'a pod’s port is forwarded, twice through one connection',
    run: (world) =>
      withPod(world, { portMappings: [{ containerPort: 80 }] }, async (pod) => {
        await runServer(world, pod);
        await page(`http://${await addressOf(world, pod)}/`);
        const { url } = await world.client.call('portForward', { podSandboxId: pod.id });
        const connection = await openForward(whole(url), world.transport);
        try {
          for (const requestid of ['0', '1']) {
            const error = await connection.open({ streamtype: 'error', port: '80', requestid }, { fin: true });
            const data = await connection.open({ streamtype: 'data', port: '80', requestid });
            await connection.send(data, 'GET / HTTP/1.0\r\nHost: pod\r\n\r\n');
            const answer = await connection.whole(data);
            assert.match(answer.toString(), /^HTTP\/1\.[01] 200 [\s\S]*It works/);
            assert.equal((await connection.whole(error)).toString(), '');
          }
        } finally {
          connection.close();
        }
      }),
  },
];
