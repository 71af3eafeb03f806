/**
 * `kina image test`: checks whether an image boots and works as a node. It runs in an engine if the architecture is the
 * host's, otherwise in an emulated machine. Everything created for the test is removed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { KinaError } from '../../host/errors.ts';
import { lastLines } from '../../host/process.ts';
import type { Steps } from '../../host/progress.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import { nameOf } from '../../oci/image/select.ts';
import { type Architecture, hostPlatform } from '../../oci/platform.ts';
import type { Provider } from '../../provider/provider.ts';
import { selectProvider } from '../../provider/select.ts';
import type { Session } from '../../session/session.ts';
import { type BootCheck, type BootOutcome, failed, skipped } from './check.ts';
import { checks } from './checks.ts';
import { bootContainer } from './engine.ts';
import { type BootTarget, NodeEnded } from './target.ts';
import { bootMachine, emulatorHint, emulatorOf } from './vm/machine.ts';

export interface TestOptions {
  /** `podman`, `docker`, or `vm` to use a machine even if an engine works. */
  readonly provider?: string | undefined;
  /** Also create a cluster. */
  readonly init: boolean;
  /** Time limit in seconds from the start of the node; default 10 minutes in an engine and 60 in a machine. */
  readonly seconds?: number | undefined;
  readonly signal: AbortSignal;
  /** Displays the start of the node and each check while it runs. */
  readonly steps: Steps;
}

export type CheckResult = BootOutcome & {
  readonly id: string;
  readonly title: string;
  /** Milliseconds. */
  readonly ms: number;
};

export interface TestReport {
  readonly platform: string;
  /** Digest of the platform's manifest. */
  readonly digest: string;
  /** The engine or machine that it ran in. */
  readonly target: string;
  readonly passed: boolean;
  readonly results: readonly CheckResult[];
  /** The last output of the node's first process or console, if it did not boot. */
  readonly log: readonly string[];
}

/** Boots the image and runs all checks. Throws for problems that are not the image's: no engine, no emulator, Ctrl-C. */
export async function testImage(session: Session, image: PlatformImage, options: TestOptions): Promise<TestReport> {
  const start = await place(session, image, options);
  const results: CheckResult[] = [];
  const report = (check: BootCheck, outcome: BootOutcome, since: number): void => {
    const { id, title } = check;
    results.push({ id, title, ms: Math.round(performance.now() - since), ...outcome });
  };
  const asked = checks.filter((check) => options.init || !check.init);
  let since = performance.now();
  let node: BootTarget | undefined;
  let log = '';
  let target = start.title;
  try {
    node = await options.steps.step(`starts in ${start.title}`, () => start.boot());
    target = node.title;
    since = performance.now();
    const limit = sleep<'late'>((options.seconds ?? start.seconds) * 1000, 'late', { ref: false });
    const over = new Promise<never>((_, gone) =>
      options.signal.addEventListener('abort', () => gone(options.signal.reason), { once: true }),
    );
    over.catch(() => {});
    for (const [i, check] of asked.entries()) {
      const began = i === 0 ? since : performance.now();
      const before = blockedBy(check, results);
      if (before) report(check, skipped(before), began);
      else report(check, await shown(options.steps, check, () => outcomeOf(check, node!, limit, over)), began);
    }
    // Later failures have their own output.
    if (results[0]?.status === 'failed') log = await node.logs().catch(() => '');
  } catch (error) {
    options.signal.throwIfAborted();
    if (!(error instanceof NodeEnded)) throw error;
    // It never accepted a command, which is a result as well.
    log = error.output;
    for (const check of asked.slice(results.length))
      report(check, results.length ? skipped(gone) : failed(error.message), since);
  } finally {
    await node?.stop();
  }
  const passed = results.every(({ status }) => status !== 'failed');
  return {
    platform: nameOf(image),
    digest: image.descriptor.digest,
    target,
    passed,
    results,
    log: lastLines(plain(log), 40),
  };
}

const gone = 'the node has ended';
const late = 'timed out';

/** Why a check cannot run: the node is gone, the time is up, or a check that it needs did not pass. */
function blockedBy(check: BootCheck, results: readonly CheckResult[]): string | undefined {
  for (const result of results) {
    if (result.status === 'failed' && (result.reason === gone || result.reason.startsWith(late))) return result.reason;
    if (check.needs.includes(result.id) && result.status !== 'passed') return `depends on: ${result.title}`;
  }
  return undefined;
}

/** Displays a failed check as a failed step; it still gives a result. */
async function shown(steps: Steps, check: BootCheck, work: () => Promise<BootOutcome>): Promise<BootOutcome> {
  class Failure extends Error {}
  let outcome: BootOutcome | undefined;
  try {
    return await steps.step(check.title, async (say) => {
      outcome = await work();
      say(outcome.status === 'passed' ? outcome.detail : outcome.reason);
      if (outcome.status === 'failed') throw new Failure();
      return outcome;
    });
  } catch (error) {
    if (error instanceof Failure && outcome) return outcome;
    throw error;
  }
}

async function outcomeOf(
  check: BootCheck,
  node: BootTarget,
  limit: Promise<'late'>,
  over: Promise<never>,
): Promise<BootOutcome> {
  try {
    const outcome = await Promise.race([check.run(node), limit, over]);
    return outcome === 'late' ? failed(`${late}; increase --timeout`) : outcome;
  } catch (error) {
    if (error instanceof NodeEnded) return failed(gone, error.output);
    throw error;
  }
}

interface Place {
  readonly title: string;
  /** Default time limit in seconds. */
  readonly seconds: number;
  boot(): Promise<BootTarget>;
}

/** Finds an engine or emulator. Throws `provider` that says what to install. */
async function place(session: Session, image: PlatformImage, options: TestOptions): Promise<Place> {
  const architecture = image.config.architecture as Architecture;
  const native = hostPlatform().architecture === architecture && process.platform === 'linux';
  const wanted = options.provider;
  if (wanted !== undefined && wanted !== 'vm' && !native)
    throw new KinaError('platform', `${wanted} on this host cannot run ${architecture} images`, {
      hint: 'Omit --provider, or use --provider vm, which emulates it.',
    });
  const machine: Place = {
    title: 'a virtual machine',
    seconds: 3600,
    boot: () => bootMachine(session, image, { memory: options.init ? 6144 : 4096, signal: options.signal }),
  };
  if (wanted === 'vm' || !native) return machine;
  let provider: Provider;
  try {
    provider = await selectProvider(wanted, session.environment);
  } catch (error) {
    if (wanted !== undefined || !(error instanceof KinaError) || error.code !== 'provider') throw error;
    if (await emulatorOf(architecture, session.environment)) return machine;
    throw new KinaError('provider', `nothing here can boot a ${architecture} image`, {
      details: error.details,
      hint: `Install podman or docker, or start its service. Or, for a virtual machine: ${emulatorHint(architecture)}`,
      cause: error,
    });
  }
  return {
    title: provider.name,
    seconds: 600,
    boot: () => bootContainer(provider, session.store, image, options.signal),
  };
}

/** Removes terminal control from a text: escape sequences and overwritten lines. */
function plain(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
      .replace(/\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z_])/g, '')
      .split('\n')
      .map((line) => line.split('\r').findLast((part) => part !== '') ?? '')
      .filter((line) => !/^\[[ *]{6}\] /.test(line))
      .join('\n')
  );
}
