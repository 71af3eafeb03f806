/** apt as the judge of closures: a root of its own, so that nothing of this machine's configuration or packages counts. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { bases, scratch } from './support.ts';

const execute = promisify(execFile);

export interface PrivateApt {
  /** Every real package of the suite, sorted. */
  names(): Promise<string[]>;
  /** `name version` of what apt would install on an empty system without recommends; undefined when it refuses. */
  closure(packages: readonly string[]): Promise<string[] | undefined>;
}

/** Fetches the index of one suite. */
export async function openApt(suite: string, architecture: string): Promise<PrivateApt> {
  const root = join(scratch, `apt-${suite}-${architecture}`);
  for (const folder of ['lists/partial', 'archives/partial', 'etc']) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'status'), '');
  const keyring = resolve('recipes/keys/debian-archive-keyring.pgp');
  writeFileSync(join(root, 'sources.list'), `deb [signed-by=${keyring}] ${bases.debian} ${suite} main\n`);
  // As APT_CONFIG, because that is read before /etc/apt, which it can forbid.
  const settings: Record<string, string> = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Install-Recommends': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Check-Valid-Until': 'false',
    'Dir::State': root,
    'Dir::State::lists': join(root, 'lists'),
    'Dir::State::status': join(root, 'status'),
    'Dir::Cache': root,
    'Dir::Etc': join(root, 'etc'),
    'Dir::Etc::main': '/nonexistent',
    'Dir::Etc::parts': '/nonexistent',
    'Dir::Etc::SourceList': join(root, 'sources.list'),
    'Dir::Etc::SourceParts': '/nonexistent',
  };
  const configuration = join(root, 'apt.conf');
  const lines = Object.entries(settings).map(([key, value]) => `${key} ${JSON.stringify(value)};\n`);
  writeFileSync(configuration, lines.join(''));
  const call = async (program: string, ...args: readonly string[]): Promise<string> => {
    const env = { ...process.env, LC_ALL: 'C', APT_CONFIG: configuration };
    return (await execute(program, args, { maxBuffer: 64 << 20, env })).stdout;
  };
  await call('apt-get', 'update');
  return {
    names: async () => (await call('apt-cache', 'pkgnames')).split('\n').filter(Boolean).sort(),
    async closure(packages) {
      try {
        // A simulation (-s) says the same in three times the time. Lines are 'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH.
        const said = await call('apt-get', '--print-uris', '--yes', 'install', ...packages);
        return [...said.matchAll(/^'\S+' ([^_\s]+)_([^_\s]+)_/gm)].map(
          ([, name, version]) => `${name} ${decodeURIComponent(version!)}`,
        );
      } catch (error) {
        // 100 is any failure of apt-get; only a refusal says this.
        if (
          /unmet dependencies|unable to correct problems|held broken/i.test(`${(error as { stdout?: string }).stdout}`)
        )
          return undefined;
        throw error;
      }
    },
  };
}
