/**
 * `npm run test:cri`: critest, the validation suite of cri-tools, against kina's CRI service or a peer.
 *
 *     CRITEST=path/to/critest node test/cri/critest.ts [kina|containerd|/path/of/a.sock] [--focus TEXT] [--websocket]
 *
 * `critest` of v1.36 is found at `CRITEST` or on the PATH (`go test -c ./cmd/critest` in cri-tools makes it). Where there is
 * none, and with `--own`, the project's own suite of the same subjects is run instead. The images that both pull are served
 * on loopback. A run without `--focus` ends with 0 when nothing failed and, for kina, at least 100 specs passed.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cleanEnvironment, run, tail } from '../support/command.ts';
import { startContainerd } from '../support/cri/containerd.ts';
import { startKinaCri } from '../support/cri/kina.ts';
import { serveCriImages } from '../support/cri-images.ts';
import { missing, noDebianMirror, pathOf } from '../support/requirements.ts';
import { runOwn } from './own.ts';
import {
  describeOutcome,
  type GinkgoReport,
  type Outcome,
  outcomeOf,
  possibleSpecs,
  skipExpression,
} from './report.ts';

/** What kina promises of the specs that it can meet. */
const promised = 100;
/** The suite needs two minutes; a service that hangs in every spec should not keep a pipeline for hours. */
const limit = 1800;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    focus: { type: 'string' },
    websocket: { type: 'boolean', default: false },
    own: { type: 'boolean', default: false },
  },
});
const [target = 'kina'] = positionals;
const critest = values.own ? undefined : (process.env.CRITEST ?? pathOf('critest'));
const reason = missing(['root']) ?? (isAbsolute(target) ? undefined : await noDebianMirror());
if (reason !== undefined) {
  console.error(`SKIPPED: ${reason}`);
  process.exit(0);
}

/** Everything the suite makes on this host lies here, so that one shared folder is enough for sandboxes that are machines. */
const scratch = mkdtempSync(join(tmpdir(), 'kina-critest-'));

/** Prints what passed and what did not; answers with the code to exit with. */
async function suite(socket: string): Promise<number> {
  const outcome = critest === undefined ? await own(socket) : await theirs(socket, critest);
  if (!outcome) return 1;
  process.stdout.write(describeOutcome(outcome));
  if (values.focus !== undefined) return outcome.failed.length === 0 ? 0 : 1;
  const seen = outcome.passed + outcome.failed.length + outcome.skipped.length;
  if (seen !== possibleSpecs)
    console.error(`${seen} specs were seen, not the ${possibleSpecs} of v1.36; the promise is about those`);
  return outcome.failed.length === 0 && (target !== 'kina' || outcome.passed >= promised) ? 0 : 1;
}

function own(socket: string): Promise<Outcome> {
  const why = values.own ? 'as asked' : 'critest is neither on the PATH nor at CRITEST';
  console.error(`the project's own suite against ${socket} (${why})`);
  const { focus, websocket } = values;
  return runOwn(socket, { folder: scratch, focus, websocket });
}

/** Undefined when critest left nothing to read. */
async function theirs(socket: string, critest: string): Promise<Outcome | undefined> {
  const [json, log] = [join(scratch, 'report.json'), join(scratch, 'log')];
  const streams = ['exec', 'attach', 'portforward'].map((stream) => `-websocket-${stream}`);
  console.error(`critest against ${socket}; its log: ${log}`);
  const command = [critest, '-runtime-endpoint', `unix://${socket}`, '-image-endpoint', `unix://${socket}`];
  const ginkgo = ['-ginkgo.v', '-ginkgo.no-color', `-ginkgo.skip=${skipExpression}`, `-ginkgo.json-report=${json}`];
  const focus = values.focus === undefined ? [] : [`-ginkgo.focus=${values.focus}`];
  const argv = [...command, ...ginkgo, ...focus, ...(values.websocket ? streams : [])];
  const ended = await toTheEnd(argv, log);
  let report: GinkgoReport[];
  try {
    report = JSON.parse(readFileSync(json, 'utf8'));
  } catch {
    console.error(`critest ended with ${ended} and left no report\n${tail(readFileSync(log, 'utf8'))}`);
    return undefined;
  }
  return outcomeOf(report[0]!, values.focus === undefined);
}

/** How the program ended. A signal to this test ends the program instead, so that what was started is stopped in order. */
async function toTheEnd([file, ...args]: readonly string[], log: string): Promise<number | string> {
  const output = openSync(log, 'w');
  const env = cleanEnvironment({ TMPDIR: scratch });
  const child = spawn(file!, args, { stdio: ['ignore', output, output], env, timeout: limit * 1000 });
  closeSync(output);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 1));
  });
}

/** What a spec about mount propagation has mounted stays when it fails. */
async function detach(): Promise<void> {
  const places = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const place of places.reverse()) if (place.startsWith(`${scratch}/`)) await run(['umount', place]);
}

async function main(): Promise<number> {
  if (isAbsolute(target)) return suite(target);
  const images = await serveCriImages();
  if (images.skip !== undefined) return 1;
  try {
    const start = target === 'containerd' ? startContainerd(images.host) : startKinaCri(images.host, [scratch]);
    const service = await start;
    if (service.skip !== undefined) return 1;
    try {
      const code = await suite(service.socket);
      if (code !== 0) console.error(`the service's last words:\n${await service.said()}`);
      return code;
    } finally {
      await service.stop();
    }
  } finally {
    await images.stop();
  }
}

process.exitCode = await main();
await detach();
if (!process.exitCode) rmSync(scratch, { recursive: true, force: true });
