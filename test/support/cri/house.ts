/**
 * What the tests of one suite share: the images, a provider, a service on it, a client, and a look at what is left when all
 * pods are gone. `close` removes everything, after any failure.
 */
import { mkdir, mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check } from '../command.ts';
import { serveCriImages } from '../cri-images.ts';
import { type CriClient, openCri } from './client.ts';
import { type CriHost, type CriProvider, openCriHost } from './host.ts';
import { busybox, Pods } from './pods.ts';
import { removePods } from './service.ts';
import { openServing, type Serving } from './serving.ts';

export interface CriHouse {
  readonly host: CriHost;
  readonly serving: Serving;
  readonly client: CriClient;
  readonly pods: Pods;
  /** On this host, shared with sandboxes. */
  readonly folder: string;
  /** Ends the service and starts it again. */
  restart(signal: 'SIGTERM' | 'SIGKILL', flags?: readonly string[]): Promise<void>;
  /** All that pods take, on the provider, below the service's root and in the kernel; one line each. */
  leftovers(): Promise<string[]>;
  close(): Promise<void>;
}

/** The service runs and has the image of `pods.ts`. Throws where something is missing that the requirements do not name. */
export async function openCriHouse(provider: CriProvider): Promise<CriHouse> {
  const undo: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const step of undo.splice(0).reverse()) await step().catch((error) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, failures.join('\n'));
  };
  try {
    const images = await serveCriImages();
    if (images.skip !== undefined) throw new Error(images.skip);
    undo.push(() => images.stop());
    const host = await openCriHost(provider);
    undo.push(() => host.close());
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'kina-pods-')));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    const { env, network } = host;
    const options = { provider, env, network, registry: images.host, shares: [folder] };
    const serving = await openServing(options);
    undo.push(() => serving.remove());
    undo.push(() => serving.end('SIGTERM'));
    await serving.start();
    undo.push(() => removeAll(serving));
    const client = openCri(serving.socket);
    undo.push(async () => client.close());
    await client.call('pullImage', { image: { image: busybox } }, 120);
    await mkdir(join(folder, 'logs'));
    return {
      host,
      serving,
      client,
      folder,
      close,
      pods: new Pods(client, folder),
      async restart(signal, flags) {
        await serving.end(signal);
        await serving.start(flags);
        await client.ready(30);
      },
      leftovers: () => leftovers(host, serving),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Through the service, because it removes everything; one that a test left dead is started once more. */
async function removeAll(serving: Serving): Promise<void> {
  if (!serving.isRunning) await serving.start();
  await removePods(serving.socket);
}

async function leftovers(host: CriHost, serving: Serving): Promise<string[]> {
  const machines = await host.machines(serving.label);
  const volumes = await host.orphanedVolumes();
  const folders = await readdir(join(serving.root, 'sandboxes'));
  const half = await readdir(join(serving.root, 'images/tmp'));
  const disks = await readdir(join(serving.root, 'images/disks'));
  const images = (await readdir(join(serving.root, 'images/records'))).map((name) => name.replace('.json', ''));
  const loops = await loopDevices(join(serving.root, 'images/disks'));
  return [
    ...machines.map((name) => `machine ${name}`),
    ...volumes.map((name) => `volume ${name}`),
    ...folders.map((name) => `folder sandboxes/${name}`),
    ...half.map((name) => `file images/tmp/${name}`),
    ...disks.filter((name) => !images.includes(name.replace('.ext4', ''))).map((name) => `disk ${name} of no image`),
    ...loops.map((name) => `loop device ${name}`),
  ];
}

/** Those that hold a file of this folder; by inode, because the kernel tells paths as they were where it was opened. */
async function loopDevices(folder: string): Promise<string[]> {
  const own = new Set<number>();
  for (const name of await readdir(folder)) own.add((await stat(join(folder, name))).ino);
  const listed = await check(['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-INO']);
  return listed
    .split('\n')
    .map((line) => line.trim().split(/\s+/) as [string, string])
    .filter(([, inode]) => own.has(Number(inode)))
    .map(([name]) => name);
}
