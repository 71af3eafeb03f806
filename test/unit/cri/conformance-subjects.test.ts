/** The table of what the conformance suite covers: complete, true, and as many as critest has. */
import { expect, test } from 'vitest';
import { possibleSpecs } from '../../cri/report.ts';
import { conformance } from '../../support/cri/specs.ts';
import { groups } from '../../support/cri/subjects.ts';

const covered = groups.flatMap((group) => Object.values(group.covered));

test('each group has as many subjects as critest has specs', () => {
  for (const { name, size, covered } of groups) expect([name, Object.keys(covered).length]).toEqual([name, size]);
  expect(covered).toHaveLength(possibleSpecs);
});

test('each subject has a specification of its own, and none is without a subject', () => {
  const titles = conformance.map(({ title }) => title);
  expect(new Set(titles).size).toBe(titles.length);
  expect([...covered].sort()).toEqual([...titles].sort());
});
