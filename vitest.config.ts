import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** A test machine's Debian mirror may be frozen; signatures and digests are checked all the same. */
const env = { KINA_DEBIAN_CHECK_VALID_UNTIL: 'false' };
const minutes = 60_000;
const compiled = { env, globalSetup: ['test/support/compile.ts'] };

/** Where `.ci/run` wants the results. */
const report = process.env.KINA_TEST_REPORT;
const reporters = ['default', './test/support/skip-reporter.ts'];

/** The tiers: CONTRIBUTING.md says what belongs to each. */
export default defineConfig({
  test: {
    reporters: report ? [...reporters, ['json', { outputFile: report }]] : reporters,
    setupFiles: ['./test/support/patience.ts'],
    expect: { poll: { timeout: 15_000 } },
    // Many tests wait for programs or for time to pass: on two cores, two workers, not one as is the default.
    maxWorkers: Math.max(2, availableParallelism()),
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        extends: true,
        test: {
          ...compiled,
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          exclude: ['test/integration/**/*.heavy.test.ts'],
          testTimeout: 4 * minutes,
          hookTimeout: 4 * minutes,
        },
      },
      {
        extends: true,
        test: {
          ...compiled,
          name: 'heavy',
          include: ['test/integration/**/*.heavy.test.ts'],
          testTimeout: 10 * minutes,
          hookTimeout: 10 * minutes,
        },
      },
      {
        extends: true,
        test: {
          ...compiled,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 30 * minutes,
          hookTimeout: 30 * minutes,
          fileParallelism: false,
        },
      },
    ],
  },
});
