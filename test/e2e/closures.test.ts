/** A hundred package sets from each of four suites, resolved by kina and by apt. */
import { expect, test } from 'vitest';
import { compareClosures, suites } from '../integration/debian/compare-closures.ts';
import { mirrorProblem } from '../integration/debian/support.ts';
import { describeUnless, missing } from '../support/requirements.ts';

const count = 100;

const problem = missing(['full tier', 'apt-get']) ?? (await mirrorProblem());

describeUnless(problem, `closures of ${count} package sets drawn from each suite are those of apt`, () => {
  test.each(suites)('%s %s', async (suite, architecture) => {
    const { same, refused, differences } = await compareClosures(suite, architecture, count);
    console.log(`${suite} ${architecture}: ${same} closures equal, ${refused} sets refused by both`);
    expect(differences).toEqual([]);
    expect(same + refused).toBe(count);
  });
});
