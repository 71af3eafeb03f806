/** Lists at the end of a run which tests were skipped, and why: one line per file and reason. */
import { relative } from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { projectRoot } from './command.ts';

export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const lines = new Map<string, number>();
    for (const module of modules) {
      // `-t PATTERN` skips what does not match: that needs no reason.
      if (module.project.config.testNamePattern) return;
      for (const test of module.children.allTests('skipped')) {
        const line = `SKIPPED ${relative(projectRoot, module.moduleId)}: ${reasonOf(test)}`;
        lines.set(line, (lines.get(line) ?? 0) + 1);
      }
    }
    for (const [line, count] of lines) process.stdout.write(`${line} (${count} ${count === 1 ? 'test' : 'tests'})\n`);
  }
}

/** The note of `context.skip`, or what `describeUnless` and `testUnless` put into a title. */
function reasonOf(test: TestCase): string {
  const { note } = test.result() as { note?: string };
  return note ?? /\(skipped: (.*?)\)( >|$)/.exec(test.fullName)?.[1] ?? failureBefore(test) ?? 'no reason given';
}

/** A hook that fails skips all tests after it. */
function failureBefore(test: TestCase): string | undefined {
  for (let parent = test.parent; ; parent = parent.parent) {
    const [error] = parent.errors();
    if (error) return `${parent.type === 'suite' ? parent.name : 'a hook'} failed: ${error.message.split('\n')[0]}`;
    if (parent.type === 'module') return undefined;
  }
}
