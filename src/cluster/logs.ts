/**
 * Exports the logs of a cluster into a folder, in the layout and with the names of `kind export logs`. Nodes are read at
 * the same time; a problem with one file does not keep the others from being exported.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { roles } from './names.ts';
import type { Node } from './node.ts';
import { type ClusterOption, openCluster } from './state.ts';

const commands: Readonly<Record<string, readonly string[]>> = {
  'kubernetes-version.txt': ['cat', '/kind/version'],
  'journal.log': ['journalctl', '--no-pager'],
  'kubelet.log': ['journalctl', '--no-pager', '--unit=kubelet.service'],
  'containerd.log': ['journalctl', '--no-pager', '--unit=containerd.service'],
  'images.log': ['ctr', '--namespace=k8s.io', 'images', 'ls'],
};

export interface ExportLogsOptions extends ClusterOption {
  /** Default: a new temporary folder. */
  readonly folder?: string | undefined;
  /** kina's own version. */
  readonly version: string;
}

export interface ExportedLogs {
  readonly folder: string;
  /** What could not be exported, one line each. */
  readonly problems: readonly string[];
}

export async function exportLogs(options: ExportLogsOptions): Promise<ExportedLogs> {
  const { provider, nodes, loadBalancer } = await openCluster(options);
  const folder = options.folder ? resolve(options.folder) : await mkdtemp(join(tmpdir(), 'kina-logs-'));
  await mkdir(folder, { recursive: true });
  const problems: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : error}`);
    }
  };
  await writeFile(join(folder, 'kina-version.txt'), `kina version ${options.version}\n`);
  await attempt(`${provider.name} info`, async () =>
    writeFile(join(folder, `${provider.name}-info.txt`), JSON.stringify(await provider.info(), null, 2)),
  );
  const containers = loadBalancer ? [...nodes, loadBalancer] : nodes;
  await Promise.all(containers.map((node) => exportNode(node, join(folder, node.name), attempt)));
  return { folder, problems };
}

async function exportNode(
  node: Node,
  folder: string,
  attempt: (what: string, work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const write = (name: string, text: () => Promise<string>) =>
    attempt(`${node.name} ${name}`, async () => writeFile(join(folder, name), await text()));
  await write('inspect.json', async () => JSON.stringify(await node.provider.inspect(node.name), null, 2));
  await write('serial.log', () => node.provider.logs(node.name));
  if (node.role === roles.loadBalancer || node.status.state !== 'running') return;
  for (const [name, argv] of Object.entries(commands)) await write(name, async () => (await node.exec(argv)).stdout);
  await attempt(`${node.name} /var/log`, () => copyLogs(node, folder));
}

/** Copies the files in /var/log. The node chooses their names, so paths outside of `folder` are skipped. */
async function copyLogs(node: Node, folder: string): Promise<void> {
  // the exit code is ignored: tar fails when a file changes while it is read
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
