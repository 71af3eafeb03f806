/** `kina ci …`: for pipelines. */
import { Command } from 'commander';
import { KinaError } from '../host/errors.ts';
import { answer } from './context.ts';
import { table } from './format.ts';
import { platforms } from './options.ts';

interface MatrixFlags {
  versions?: string;
  platforms: string;
  joinPlatforms: boolean;
  json: boolean;
}

export function ciCommand(): Command {
  const matrix = new Command('matrix')
    .description('list the jobs that build node images: Kubernetes versions × platforms')
    .option('--versions <list>', 'comma list of minors or full versions (default: the newest three minors)')
    .option('--platforms <list>', 'comma list of platforms', 'linux/amd64,linux/arm64')
    .option('--join-platforms', 'one job a version, which builds all platforms', false)
    .option('--json', 'answer as JSON on one line, for the matrix of a job', false)
    .addHelpText(
      'after',
      `
Examples:
  kina ci matrix --versions 1.34,1.35
  echo "matrix=$(kina ci matrix --join-platforms --json)" >> "$GITHUB_OUTPUT"`,
    )
    .action(async (flags: MatrixFlags) => {
      const versions = flags.versions?.split(',').map((one) => one.trim());
      if (versions?.some((one) => one === ''))
        throw new KinaError('usage', `--versions ${flags.versions}: expected versions with commas between them`);
      const { jobMatrix } = await import('../ops/ci/matrix.ts');
      const request = { versions: versions ?? [], platforms: platforms(flags.platforms), join: flags.joinPlatforms };
      const jobs = await jobMatrix(request);
      if (flags.json) return answer(JSON.stringify(jobs));
      const rows = jobs.include.map(({ version, minor, platform }) => [version, minor, platform]);
      answer(table([['VERSION', 'MINOR', 'PLATFORM'], ...rows]));
    });
  return new Command('ci').description('help pipelines that build node images').addCommand(matrix);
}
