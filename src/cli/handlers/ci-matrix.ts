import { KinaError } from '../../host/errors.ts';
import { changedJobs } from '../../ops/ci/changed.ts';
import type { Matrix, MatrixRequest } from '../../ops/ci/matrix.ts';
import { jobMatrix } from '../../ops/ci/matrix.ts';
import { answer } from '../terminal/context.ts';
import { table } from '../terminal/format.ts';
import { platforms } from './shared/flag-values.ts';

interface MatrixFlags {
  versions?: string;
  platforms: string;
  joinPlatforms: boolean;
  changedSince?: string;
  recipe?: string | undefined;
  lock: string[];
  also: string[];
  json: boolean;
}

export async function run(flags: MatrixFlags): Promise<void> {
  const versions = flags.versions?.split(',').map((one) => one.trim());
  if (versions?.some((one) => one === ''))
    throw new KinaError('usage', `--versions ${flags.versions}: expected a comma-separated list of versions`);
  const request = { versions: versions ?? [], platforms: platforms(flags.platforms), join: flags.joinPlatforms };
  const jobs = await jobsFor(request, flags);
  if (flags.json) return answer(JSON.stringify(jobs));
  const rows = jobs.include.map(({ version, minor, platform }) => [version, minor, platform]);
  answer(table([['VERSION', 'MINOR', 'PLATFORM'], ...rows]));
}

async function jobsFor(request: MatrixRequest, flags: MatrixFlags): Promise<Matrix> {
  if (flags.changedSince === undefined) {
    const { recipe, lock, also } = flags;
    const given = { recipe, lock: lock[0], also: also[0] };
    const idle = Object.entries(given).find(([, value]) => value !== undefined)?.[0];
    if (idle) throw new KinaError('usage', `--${idle} requires --changed-since`);
    return jobMatrix(request);
  }
  const { changedSince: since, recipe = 'node', also } = flags;
  return changedJobs({ ...request, since, recipe, also, locks: flags.lock.length > 0 ? flags.lock : undefined });
}
