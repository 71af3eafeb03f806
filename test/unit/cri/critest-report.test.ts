/** Reading Ginkgo's report: what counts, and under which names. */
import { describe, expect, test } from 'vitest';
import { describeOutcome, type GinkgoReport, outcomeOf, possibleSpecs, skipExpression } from '../../cri/report.ts';

const spec = (LeafNodeText: string, State: string, Message?: string): GinkgoReport['SpecReports'][number] => ({
  LeafNodeType: 'It',
  LeafNodeText,
  ContainerHierarchyTexts: ['[k8s.io] Container', 'runtime should'],
  State,
  ...(Message === undefined ? {} : { Failure: { Message } }),
});

const outcome = (specs: GinkgoReport['SpecReports']) => outcomeOf({ SpecReports: specs }, false);

describe('a report of critest', () => {
  test('a spec that a filter left out does not count, one that skips itself does', () => {
    const { passed, failed, skipped } = outcome([
      spec('run', 'passed'),
      spec('be left out', 'skipped'),
      spec('have user namespaces', 'skipped', 'not supported'),
    ]);
    expect([passed, failed]).toEqual([1, []]);
    expect(skipped).toEqual([
      { name: '[k8s.io] Container runtime should have user namespaces', reason: 'not supported' },
    ]);
  });

  test.each(['failed', 'panicked', 'timedout', 'interrupted', 'aborted'])('%s is a failure', (state) => {
    expect(outcome([spec('run', state, 'because')]).failed).toHaveLength(1);
  });

  test('a suite that cannot be prepared is a failure, although it is not a spec', () => {
    const before = { ...spec('', 'failed', 'no service'), LeafNodeType: 'BeforeSuite', ContainerHierarchyTexts: null };
    expect(outcome([before])).toMatchObject({ passed: 0, failed: [{ name: 'the suite', reason: 'no service' }] });
  });

  test('preparing the suite does not count as a spec that passed', () => {
    const before = { ...spec('', 'passed'), LeafNodeType: 'BeforeSuite' };
    expect(outcome([before, spec('run', 'passed')]).passed).toBe(1);
  });

  test('what only the internet is missing for counts as skipped, by name', () => {
    const { skipped } = outcomeOf({ SpecReports: [] }, true);
    expect(skipped.map(({ name }) => name)).toEqual(['public image with digest should be pulled and removed']);
    expect(skipExpression).toContain(skipped[0]!.name);
  });

  test('the last line is the sum, and a failure keeps its first lines only', () => {
    const long = Array.from({ length: 50 }, (_, i) => `line ${i}`).join('\n');
    const text = describeOutcome(outcome([spec('run', 'passed'), spec('stop', 'failed', long)]));
    expect(text.trimEnd().split('\n').at(-1)).toBe('1 passed, 1 failed, 0 skipped of 2');
    expect(text).toContain('FAILED   [k8s.io] Container runtime should stop');
    expect(text).not.toContain('line 20');
    expect(possibleSpecs).toBe(109);
  });
});
