/** What runs with the rights of a repository: actions are pinned, and jobs have the permissions that they need and no others. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { projectRoot } from '../../support/command.ts';

const folder = join(projectRoot, '.github/workflows');
const workflows = [
  ...readdirSync(folder).map((name) => join(folder, name)),
  join(projectRoot, 'examples/ci/github.yaml'),
];

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Record<string, unknown>;
}
interface Job {
  readonly permissions?: Record<string, string>;
  readonly 'timeout-minutes'?: number;
  readonly steps: readonly Step[];
}

describe.each([...workflows, join(projectRoot, 'action.yml')])('%s', (file) => {
  const text = readFileSync(file, 'utf8');

  test('pins every action to a commit, and names its version', () => {
    const own = /^\s*(- )?uses: (\.\/|kina-dev\/kina@v[\d.]+)$/;
    const uses = text.split('\n').filter((line) => /^\s*(- )?uses:/.test(line) && !own.test(line));
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test('gives scripts nothing that an author of a change can write', () => {
    const { runs, jobs } = parse(text) as { runs?: Job; jobs?: Record<string, Job> };
    for (const { steps } of runs ? [runs] : Object.values(jobs ?? {}))
      for (const { run } of steps) expect(run ?? '').not.toContain('${{');
  });
});

describe.each(workflows)('%s', (file) => {
  const workflow = parse(readFileSync(file, 'utf8')) as { permissions: unknown; on: object; jobs: Record<string, Job> };

  test('has no permissions but those of its jobs', () => {
    expect(workflow.permissions).toEqual({});
    expect(workflow.on).not.toHaveProperty('pull_request_target');
    for (const job of Object.values(workflow.jobs)) {
      expect(job.permissions).toBeTypeOf('object');
      if (file.startsWith(folder)) expect(job['timeout-minutes']).toBeTypeOf('number');
    }
  });

  test('leaves no login in the clone', () => {
    for (const { steps } of Object.values(workflow.jobs))
      for (const step of steps)
        if (step.uses?.startsWith('actions/checkout@'))
          expect(step.with).toMatchObject({ 'persist-credentials': false });
  });
});
