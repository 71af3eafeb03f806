import { KinaError } from '../../host/errors.ts';
import { atomicWrite, checkFileDestination } from '../../host/files.ts';
import { choosePlatforms, openImage } from '../../oci/image/select.ts';
import { junitReport } from '../../ops/boot/junit.ts';
import type { CheckResult, TestReport } from '../../ops/boot/test-image.ts';
import { testImage } from '../../ops/boot/test-image.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags } from '../terminal/context.ts';
import { seconds } from '../terminal/format.ts';
import { duration, withSteps } from './shared/cluster.ts';
import { platforms } from './shared/flag-values.ts';
import { sessionFor } from './shared/session.ts';

interface TestFlags extends MirrorFlags, GlobalFlags {
  platform?: string;
  provider?: string;
  init: boolean;
  timeout?: string;
  json: boolean;
  junit?: string;
}

export async function run(flags: TestFlags, ref: string): Promise<void> {
  const limit = flags.timeout === undefined ? undefined : duration(flags.timeout, '--timeout');
  if (limit === 0) throw new KinaError('usage', `--timeout ${flags.timeout}: expected a time above 0`);
  if (flags.junit !== undefined) await checkFileDestination(flags.junit, 'JUnit report');
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  if (wanted && wanted.length > 1)
    throw new KinaError('usage', `--platform ${flags.platform}: expected a single platform`);
  const report = await withSteps(flags, async (steps, signal) => {
    const tools = await sessionFor(flags, { warn: steps.warn }, signal);
    const contents = await openImage(tools.store, ref);
    const only = contents.platforms.length === 1;
    const [image] = choosePlatforms(ref, contents, wanted ?? (only ? undefined : platforms(undefined)));
    if (!image) throw new KinaError('platform', `${ref} does not contain an image`);
    return testImage(tools, image, {
      provider: flags.provider,
      init: flags.init,
      seconds: limit,
      signal,
      steps,
    });
  });
  if (flags.junit !== undefined) {
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
  const console = log.length ? [`\nLast lines of its output:\n${indented(log.join('\n'))}`] : [];
  const verdict = passed ? 'boots' : `failed: ${failures.length} of ${results.length} checks`;
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
