/** `kina ci …`: for pipelines. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import type { Matrix, MatrixRequest } from '../../ops/ci/matrix.ts';
import { answer } from '../terminal/context.ts';
import { table } from '../terminal/format.ts';
import { collect, platforms } from './options.ts';

interface MatrixFlags {
  versions?: string;
  platforms: string;
  joinPlatforms: boolean;
  changedSince?: string;
  recipe: string;
  lock: string[];
  also: string[];
  json: boolean;
}

export function ciCommand(): Command {
  const matrix = new Command('matrix')
    .description('list the jobs that build node images: Kubernetes versions × platforms')
    .option('--versions <list>', 'comma list of minors or full versions (default: the newest three minors)')
    .option('--platforms <list>', 'comma list of platforms', 'linux/amd64,linux/arm64')
    .option('--join-platforms', 'one job a version, which builds all platforms', false)
    .option('--changed-since <ref>', 'only jobs that changes since this commit, branch or tag of git affect')
    .option('--recipe <name|file>', 'for --changed-since: the recipe of the jobs', 'node')
    .option('--lock <file>', 'for --changed-since: a lock of the jobs (repeatable; default: kina.lock)', collect, [])
    .option(
      '--also <path>',
      'for --changed-since: a file or folder on which every job depends (repeatable)',
      collect,
      [],
    )
    .option('--json', 'answer as JSON on one line, for the matrix of a job', false)
    .addHelpText(
      'after',
      `
Examples:
  kina ci matrix --versions 1.34,1.35
  kina ci matrix --changed-since origin/main --recipe recipes/mine.yaml --also .github/workflows
  echo "matrix=$(kina ci matrix --join-platforms --json)" >> "$GITHUB_OUTPUT"`,
    )
    .action(async (flags: MatrixFlags, command: Command) => {
      const versions = flags.versions?.split(',').map((one) => one.trim());
      if (versions?.some((one) => one === ''))
        throw new KinaError('usage', `--versions ${flags.versions}: expected versions with commas between them`);
      const request = { versions: versions ?? [], platforms: platforms(flags.platforms), join: flags.joinPlatforms };
      const jobs = await jobsFor(request, flags, command);
      if (flags.json) return answer(JSON.stringify(jobs));
      const rows = jobs.include.map(({ version, minor, platform }) => [version, minor, platform]);
      answer(table([['VERSION', 'MINOR', 'PLATFORM'], ...rows]));
    });
  return new Command('ci').description('help pipelines that build node images').addCommand(matrix);
}

async function jobsFor(request: MatrixRequest, flags: MatrixFlags, command: Command): Promise<Matrix> {
  if (flags.changedSince === undefined) {
    const idle = ['recipe', 'lock', 'also'].find((name) => command.getOptionValueSource(name) === 'cli');
    if (idle) throw new KinaError('usage', `--${idle} says what --changed-since looks at, which is not there`);
    const { jobMatrix } = await import('../../ops/ci/matrix.ts');
    return jobMatrix(request);
  }
  const { changedJobs } = await import('../../ops/ci/changed.ts');
  const { changedSince: since, recipe, also } = flags;
  return changedJobs({ ...request, since, recipe, also, locks: flags.lock.length > 0 ? flags.lock : undefined });
}
