/**
 * A stand-in for Apple's `container` 1.2.2 on Linux: the same command line, the same answers, the same refusals, as far as
 * kina's reference describes them, and podman where a Mac would boot virtual machines. It is what kina's end-to-end tests
 * of that provider run on. What it does not imitate it refuses.
 *
 * KINA_APPLE_STATE    folder for what it knows; also separates stand-ins from each other
 * KINA_APPLE_RECORD   file that gets every call, one JSON array per line
 * KINA_APPLE_VERSION  another version, e.g. 1.2.0, which lacks two options
 * KINA_APPLE_MACOS    15: no networks
 * KINA_APPLE_SERVICE  `unregistered`, `not running`: the service is down
 * KINA_APPLE_BUSY     file with a number: so many requests are not answered in time
 */
import { spawn } from 'node:child_process';
import { appendFileSync, createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Call, parse } from './grammar.ts';
import { compact } from './json.ts';
import { failure, Refusal } from './refusal.ts';
import { service } from './state.ts';

const version = process.env.KINA_APPLE_VERSION ?? '1.2.2';
const macos = Number(process.env.KINA_APPLE_MACOS ?? 26);
const serviceState = process.env.KINA_APPLE_SERVICE ?? 'running';
const commit = '3c4c59cf6a1099c334f1ad6d485f79969e09f4b9';

// Loaded when wanted: most calls are of one kind.
const containers = () => import('./containers.ts');
const images = () => import('./images.ts');
const networks = () => import('./networks.ts');

type Work = (call: Call) => Promise<string> | string;

const last = (call: Call, option: string): string | undefined => call.options[option]?.at(-1);

const commands: Readonly<Record<string, Work>> = {
  run: (call) => service(async () => (await containers()).create(call, macos)),
  create: (call) => service(async () => (await containers()).create(call, macos)),
  start: (call) => service(async () => (await containers()).start(call.positional[0]!)),
  stop: async (call) => (await containers()).stop(call),
  delete: (call) => service(async () => (await containers()).remove(call)),
  list: (call) => asJson(call, async () => (await containers()).listContainers(call)),
  inspect: async (call) => (await containers()).inspectContainers(call.positional),
  // Exit 0 and nothing there: it writes below the tmpfs that the node has mounted since.
  copy: (call) => `${call.positional[1]}\n`,
  'image load': async (call) => (await images()).load(last(call, 'input')),
  'image inspect': async (call) => (await images()).inspectImages(call.positional),
  'image list': (call) => asJson(call, async () => (await images()).listImages()),
  'image delete': async (call) => (await images()).deleteImages(call.positional, Boolean(call.options.force)),
  'network create': async (call) =>
    (await networks()).createNetwork(call.positional[0]!, {
      labels: call.options.label ?? [],
      subnet: last(call, 'subnet'),
    }),
  'network list': (call) => asJson(call, async () => (await networks()).listNetworks()),
  'network inspect': async (call) => (await networks()).inspectNetworks(call.positional),
  'network delete': async (call) => (await networks()).deleteNetworks(call.positional),
  'system version': () => compact([{ appName: 'container', buildType: 'release', commit, version }]),
  'system df': () => compact({ containers: {}, images: {}, volumes: {} }),
};

function asJson(call: Call, work: () => Promise<string> | string): Promise<string> | string {
  if (last(call, 'format') === 'json') return work();
  throw new Error('the stand-in has no tables: they are for people');
}

async function main(argv: readonly string[]): Promise<number> {
  if (process.env.KINA_APPLE_RECORD) appendFileSync(process.env.KINA_APPLE_RECORD, `${JSON.stringify(argv)}\n`);
  if (argv.length === 1 && argv[0] === '--version') {
    process.stdout.write(`container CLI version ${version} (build: release, commit: ${commit.slice(0, 7)})\n`);
    return 0;
  }
  if (argv[0] === 'network' && macos < 26) throw new Refusal("Error: Plugin 'container-network' not found.\n", 64);
  const call = parse(argv, version);
  if (call.command === 'system status') return status();
  if (serviceState !== 'running')
    throw failure(
      'interrupted: "XPC connection error: Connection invalid"\nEnsure container system service has been started with `container system start`.',
    );
  if (isBusy()) throw failure('XPC timeout for request to com.apple.container.apiserver/networkList');
  if (call.command === 'image save') return save(call);
  if (call.command === 'exec' || call.command === 'logs') return inside(call);
  const work = commands[call.command];
  if (!work) throw new Error(`the stand-in does not imitate \`container ${call.command}\``);
  process.stdout.write(await work(call));
  return 0;
}

/** To standard output, as bytes. */
async function save(call: Call): Promise<number> {
  const file = (await images()).savedArchive(call.positional[0]!, last(call, 'platform'));
  await pipeline(createReadStream(file), process.stdout);
  return 0;
}

function status(): number {
  const up = serviceState === 'running';
  const filled = (text: string) => (up ? text : '');
  process.stdout.write(
    compact({
      apiServerAppName: filled('container-apiserver'),
      apiServerBuild: filled('release'),
      apiServerCommit: filled(commit),
      apiServerVersion: filled(
        `container-apiserver version ${version} (build: release, commit: ${commit.slice(0, 7)})`,
      ),
      appRoot: filled('/Users/me/Library/Application Support/com.apple.container/'),
      installRoot: filled('/usr/local/'),
      status: serviceState,
    }),
  );
  return up ? 0 : 1;
}

function isBusy(): boolean {
  const file = process.env.KINA_APPLE_BUSY;
  const left = file ? Number(readFileSync(file, 'utf8')) : 0;
  if (left > 0) writeFileSync(file!, String(left - 1));
  return left > 0;
}

/** Streams go straight to podman; of its own words only that there is no such program is told, in the real one's. */
async function inside(call: Call): Promise<number> {
  if (call.command === 'logs' && call.options.boot) return 0;
  const args = await (await containers()).insideArguments(call);
  const child = spawn('podman', args, { stdio: [call.options.i ? 'inherit' : 'ignore', 'inherit', 'pipe'] });
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString();
    if (!said.startsWith('Error: ')) process.stderr.write(chunk);
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  const code = await new Promise<number>((done, failed) => {
    child.once('error', failed);
    child.once('close', (ended, signal) => done(ended ?? (signal === 'SIGKILL' ? 137 : 143)));
  });
  if (!said.startsWith('Error: ')) return code;
  if (/executable file .* not found|no such file or directory.*OCI runtime/s.test(said)) {
    const inner = `vmexec error: internalError: "failed to find target executable ${call.guest[0]}"`;
    throw failure(
      `failed to start process 5f0c1d3e-9a41-4c1b-8a55-0d3f6a6f2b17 in container ${call.positional[0]} (cause: "internalError: "${inner}"")`,
    );
  }
  if (/can only create exec sessions on running containers|is not running/.test(said))
    throw failure(
      'failed to create process in container (cause: "invalidState: "no runtime client exists: container is stopped"")',
    );
  process.stderr.write(said);
  return code;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Refusal)) {
    process.stderr.write(`stand-in: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 70;
  } else {
    process.stdout.write(error.stdout);
    process.stderr.write(error.message);
    process.exitCode = error.code;
  }
}
