/** Probes of the real machine. Engines and servers are contacted once, even if several checks use the result. */

import { existsSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import type { Environment } from '../../host/environment.ts';
import { isErrno, KinaError } from '../../host/errors.ts';
import { cacheDirectory } from '../../host/files.ts';
import type { Transport } from '../../host/http.ts';
import { run } from '../../host/process.ts';
import { Store } from '../../oci/store/store.ts';
import { preferredProviders, providerNamed } from '../../provider/select.ts';
import type { Answer, FoundEngine, Probes } from './check.ts';

/** One small file on each server that a build downloads from. Registries answer this URL, with or without a login. */
const downloadUrls = ['https://dl.k8s.io/release/stable.txt', 'https://registry.k8s.io/v2/'];
const timeout = 20_000;

export interface ProbeOptions {
  readonly environment: Environment;
  /** Opens the transport, and returns the base URL of the Debian archive; undefined: offline. */
  readonly connect: (() => Promise<{ transport: Transport; debian: string }>) | undefined;
}

export function machineProbes({ environment, connect }: ProbeOptions): Probes {
  const folder = cacheDirectory(environment);
  return {
    platform: process.platform,
    uid: process.getuid?.(),
    folder,
    now: Date.now,
    memory: async () => ({ total: totalmem(), available: (await availableMemory()) ?? freemem() }),
    freeDisk: async (path) => {
      let place = path;
      while (!existsSync(place) && dirname(place) !== place) place = dirname(place);
      const { bavail, bsize } = await statfs(place);
      return bavail * bsize;
    },
    readText,
    run: (argv) => run(argv, { timeout }),
    engines: once(() => Promise.all(preferredProviders.map(askEngine))),
    nodes: ({ provider }) => provider.nodes(),
    store: async () => (existsSync(join(folder, 'blobs')) ? Store.open(folder) : undefined),
    upstreams: once(async () => {
      if (!connect) return [];
      const { transport, debian } = await connect();
      const urls = [...downloadUrls, `${debian.replace(/\/$/, '')}/dists/stable/InRelease`];
      return Promise.all(urls.map((url) => askServer(transport, url)));
    }),
  };
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => {
    answer ??= ask();
    return answer;
  };
}

/** One character for each byte: the file may be compressed. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Memory that Linux can provide without swapping; undefined on other systems. */
async function availableMemory(): Promise<number | undefined> {
  const found = /^MemAvailable:\s+(\d+) kB/m.exec((await readText('/proc/meminfo')) ?? '')?.[1];
  return found === undefined ? undefined : Number(found) * 1024;
}

async function askEngine(name: string): Promise<FoundEngine> {
  const provider = providerNamed(name, 'doctor');
  try {
    return { provider, version: await provider.version(), installed: true, problem: undefined, advice: undefined };
  } catch (error) {
    const known = error instanceof KinaError ? error : undefined;
    const problem = [known?.message ?? String(error), ...(known?.details ?? [])].slice(0, 2).join(': ');
    const installed = known?.code !== 'not-found';
    return { provider, version: undefined, installed, problem, advice: known?.hint };
  }
}

async function askServer(transport: Transport, url: string): Promise<Answer> {
  try {
    const answer = await transport.request(url, {
      method: 'HEAD',
      signal: AbortSignal.timeout(timeout),
      // any answer shows that the server is reachable
      accept: [400, 401, 403, 405],
    });
    answer.body.destroy();
    const date = Date.parse(answer.headers.date ?? '');
    return { url, date: Number.isNaN(date) ? undefined : date };
  } catch (error) {
    // A mirror may lack this file.
    if (error instanceof KinaError && error.code === 'not-found') return { url };
    return { url, problem: error instanceof Error ? error.message : String(error) };
  }
}
