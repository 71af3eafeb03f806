/**
 * Everything about a cluster that explains a failure, as files in a folder: the layout and names that CI systems of kind's
 * users collect. Nodes are read at once; what one node cannot give is written down and does not keep the rest.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import type { Node } from './node.ts';
import type { ExistingCluster } from './state.ts';

const commands: Readonly<Record<string, readonly string[]>> = {
  'kubernetes-version.txt': ['cat', '/kind/version'],
  'journal.log': ['journalctl', '--no-pager'],
  'kubelet.log': ['journalctl', '--no-pager', '--unit=kubelet.service'],
  'containerd.log': ['journalctl', '--no-pager', '--unit=containerd.service'],
  'images.log': ['ctr', '--namespace=k8s.io', 'images', 'ls'],
};

/** Answers with what could not be had, one line each. */
export async function exportLogs(cluster: ExistingCluster, folder: string, version: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const problems: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : error}`);
    }
  };
  const { provider } = cluster;
  await writeFile(join(folder, 'kina-version.txt'), `${version}\n`);
  await attempt(`${provider.name} info`, async () =>
    writeFile(join(folder, `${provider.name}-info.txt`), JSON.stringify(await provider.info(), null, 2)),
  );
  const every = [...cluster.nodes, ...(cluster.loadBalancer ? [cluster.loadBalancer] : [])];
  await Promise.all(
    every.map(async (node) => {
      const place = join(folder, node.name);
      await mkdir(place, { recursive: true });
      const write = (name: string, text: () => Promise<string>) =>
        attempt(`${node.name} ${name}`, async () => writeFile(join(place, name), await text()));
      await write('inspect.json', async () => JSON.stringify(await provider.inspect(node.name), null, 2));
      await write('serial.log', () => provider.logs(node.name));
      if (node === cluster.loadBalancer || node.status.state !== 'running') return;
      for (const [name, argv] of Object.entries(commands))
        await write(name, async () => (await node.exec(argv)).stdout);
      await attempt(`${node.name} /var/log`, () => copyLogs(node, place));
    }),
  );
  return problems;
}

/** The files of the node's /var/log. Names come from the node: none may leave the folder. */
async function copyLogs(node: Node, folder: string): Promise<void> {
  // files change while tar reads them, which it answers with 1
  const { stdout } = node.provider.stream(node.name, ['tar', '--hard-dereference', '-C', '/var/log', '-chf', '-', '.']);
  const entries = extract();
  entries.on('entry', (header, stream, next) => {
    const path = resolve(folder, header.name);
    if (header.type !== 'file' || !path.startsWith(folder + sep)) return void stream.resume().once('end', next);
    mkdir(dirname(path), { recursive: true })
      .then(() => pipeline(stream, createWriteStream(path)))
      .then(() => next(), next);
  });
  await pipeline(stdout, entries);
}
