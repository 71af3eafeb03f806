/** Adds up vitest's JSON reports in a folder and prints the line of counts that ends a CI run. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  success: boolean;
}

const folder = process.argv[2] ?? '.';
let passed = 0;
let failed = 0;
let skipped = 0;
for (const name of ['tests.json', 'heavy.json', 'e2e.json']) {
  const file = join(folder, name);
  if (!existsSync(file)) {
    // A run that ended before it could report must not count as "no failures".
    console.log(`${name}: no report, counted as a failure`);
    failed++;
    continue;
  }
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
  // A file that fails to load has no tests of its own.
  if (!report.success && report.numFailedTests === 0) failed++;
}
if (existsSync(join(folder, 'check-failed'))) failed++;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed > 0 ? 1 : 0);
