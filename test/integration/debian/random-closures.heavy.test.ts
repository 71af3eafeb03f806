import { expect, test } from 'vitest';
import { describeUnless, missing } from '../../support/requirements.ts';
import { compareClosures, suites } from './compare-closures.ts';
import { mirrorProblem } from './support.ts';

/** The full tier draws a hundred: test/e2e/closures.test.ts. */
const count = 10;

const problem = missing(['apt-get']) ?? (await mirrorProblem());

describeUnless(problem, `closures of ${count} package sets drawn from each suite are those of apt`, () => {
  test.each(suites)('%s %s', async (suite, architecture) => {
    const { same, refused, differences } = await compareClosures(suite, architecture, count);
    expect(differences).toEqual([]);
    expect(same + refused).toBe(count);
    expect(same).toBeGreaterThan(count / 2);
  });
});
