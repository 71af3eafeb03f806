/** `kina image test`: boots an image and says whether it is a node. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { atomicWrite, checkFileDestination } from '../../host/files.ts';
import { choosePlatforms, openImage } from '../../oci/image/select.ts';
import type { CheckResult, TestReport } from '../../ops/boot/test-image.ts';
import { answer, answerJson, type GlobalFlags } from '../terminal/context.ts';
import { seconds } from '../terminal/format.ts';
import { platforms } from './options.ts';
import { addMirrorOptions, type MirrorFlags } from './shared.ts';
import { sessionFor } from './toolbox.ts';

interface TestFlags extends MirrorFlags, GlobalFlags {
  platform?: string;
  provider?: string;
  init: boolean;
  timeout?: string;
  json: boolean;
  junit?: string;
}

export function testCommand(): Command {
  return addMirrorOptions(
    new Command('test')
      .description('boot an image and check that it is a node: in an engine, else in an emulated machine')
      .argument('<ref>', 'name of the image')
      .option('--platform <platform>', 'linux/arm64 or linux/amd64 (default: the only one, else this host)')
      .option('--provider <name>', 'podman, docker or vm (default: KINA_PROVIDER, else a working engine, else vm)')
      .option('--init', 'also let kubeadm make a cluster, up to a Ready node', false)
      .option('--timeout <duration>', 'time for all checks, e.g. 90s or 20m (default: 10m, emulated 60m)')
      .option('--json', 'answer as JSON', false)
      .option('--junit <file>', 'also write a JUnit report'),
  ).action((ref: string, _own: unknown, command: Command) => runTest(ref, command.optsWithGlobals<TestFlags>()));
}

async function runTest(ref: string, flags: TestFlags): Promise<void> {
  const { duration, withSteps } = await import('./cluster-shared.ts');
  const limit = flags.timeout === undefined ? undefined : duration(flags.timeout, '--timeout');
  if (limit === 0) throw new KinaError('usage', `--timeout ${flags.timeout} leaves no time`);
  if (flags.junit !== undefined) await checkFileDestination(flags.junit, 'JUnit report');
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  if (wanted && wanted.length > 1) throw new KinaError('usage', `--platform ${flags.platform}: name one platform`);
  const { testImage } = await import('../../ops/boot/test-image.ts');
  const report = await withSteps(flags, async (steps, signal) => {
    const tools = await sessionFor(flags, { warn: steps.warn }, signal);
    const contents = await openImage(tools.store, ref);
    const only = contents.platforms.length === 1;
    const [image] = choosePlatforms(ref, contents, wanted ?? (only ? undefined : platforms(undefined)));
    if (!image) throw new KinaError('platform', `${ref} holds no image`);
    return testImage(tools, image, {
      provider: flags.provider,
      init: flags.init,
      seconds: limit,
      signal,
      steps,
    });
  });
  if (flags.junit !== undefined) {
    const { junitReport } = await import('../../ops/boot/junit.ts');
    await atomicWrite(flags.junit, junitReport(ref, report));
  }
  if (!report.passed) process.exitCode = 1;
  return flags.json ? answerJson({ ref, ...report }) : answer(summary(ref, report));
}

const words: Readonly<Record<CheckResult['status'], string>> = { passed: 'ok', failed: 'FAILED', skipped: 'skipped' };

function resultLine(result: CheckResult): string {
  const note = result.status === 'passed' ? result.detail : result.reason;
  const time = result.status === 'skipped' ? '' : seconds(result.ms);
  return `${words[result.status].padEnd(8)} ${time.padStart(7)}  ${result.title}: ${note}`;
}

function summary(ref: string, { results, platform, digest, target, log, passed }: TestReport): string {
  const failures = results.flatMap((result) =>
    result.status === 'failed'
      ? [`\n${result.title}: ${result.reason}${result.output && `\n${indented(result.output)}`}`]
      : [],
  );
  const console = log.length ? [`\nThe end of what it wrote:\n${indented(log.join('\n'))}`] : [];
  const verdict = passed ? 'boots' : `does not pass: ${failures.length} of ${results.length} checks failed`;
  return [
    ...results.map(resultLine),
    ...failures,
    ...console,
    `${failures.length ? '\n' : ''}${ref}@${digest} (${platform}) in ${target}: ${verdict}`,
  ].join('\n');
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
