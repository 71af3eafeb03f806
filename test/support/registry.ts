/** A real registry, Debian's `docker-registry`, with an empty folder of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface Registry {
  /** `ADDRESS:PORT`. */
  readonly host: string;
  /** The folder with its blobs and links, for tests that damage them. */
  readonly storage: string;
  readonly skip?: undefined;
  stop(): Promise<void>;
}

/**
 * `auth` is the registry's own `auth:` section, as YAML or JSON; without `address` it is on loopback, without `port` it
 * takes a free one. With `tls`, two PEM files, it speaks HTTPS.
 */
export async function startRegistry(
  options: { auth?: string; address?: string; port?: number; tls?: { certificate: string; key: string } } = {},
): Promise<Registry | { skip: string }> {
  try {
    execFileSync('docker-registry', ['--version'], { stdio: 'ignore' });
    execFileSync('skopeo', ['--version'], { stdio: 'ignore' });
  } catch {
    const skip = 'docker-registry or skopeo is not installed (apt install docker-registry skopeo)';
    return { skip };
  }
  const folder = mkdtempSync(join(tmpdir(), 'kina-registry-'));
  const config = join(folder, 'config.yml');
  writeFileSync(
    config,
    [
      'version: 0.1',
      `storage: { filesystem: { rootdirectory: ${JSON.stringify(join(folder, 'data'))} } }`,
      `http: ${JSON.stringify({ addr: `${options.address ?? '127.0.0.1'}:${options.port ?? 0}`, tls: options.tls })}`,
      'log: { accesslog: { disabled: true } }',
      ...(options.auth ? [`auth: ${options.auth}`] : []),
    ].join('\n'),
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  const host = await new Promise<string>((resolve, reject) => {
    const said: string[] = [];
    child.once('exit', (code) => reject(new Error(`docker-registry ended with ${code}: ${said.join('\n')}`)));
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      const address = /listening on ([\d.]+:\d+)/.exec(line)?.[1];
      if (address) resolve(address);
    });
  });
  child.unref();
  return { host, storage: join(folder, 'data/docker/registry/v2'), stop: () => stop(child, folder) };
}

async function stop(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.ref();
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  }
  rmSync(folder, { recursive: true, force: true });
}
