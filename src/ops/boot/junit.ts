/** A test report for CI systems: JUnit XML with the common elements (testsuite, testcase, failure, skipped). */
import type { TestReport } from './test-image.ts';

export function junitReport(name: string, { results, platform, target, log }: TestReport): string {
  const count = (status: string): number => results.filter((one) => one.status === status).length;
  const total = results.reduce((sum, { ms }) => sum + ms, 0);
  const suite = `kina image test ${name} ${platform}`;
  const numbers = `tests="${results.length}" failures="${count('failed')}" skipped="${count('skipped')}" errors="0"`;
  const cases = results.map((result) => {
    const head = `    <testcase classname="${escaped(suite)}" name="${escaped(result.title)}" time="${seconds(result.ms)}"`;
    if (result.status === 'passed') return `${head}/>`;
    const body =
      result.status === 'skipped'
        ? `<skipped message="${escaped(result.reason)}"/>`
        : `<failure message="${escaped(result.reason)}">${escaped(result.output)}</failure>`;
    return `${head}>\n      ${body}\n    </testcase>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="kina" ${numbers} time="${seconds(total)}">`,
    `  <testsuite name="${escaped(suite)}" ${numbers} time="${seconds(total)}">`,
    `    <properties><property name="target" value="${escaped(target)}"/></properties>`,
    ...cases,
    ...(log.length ? [`    <system-out>${escaped(log.join('\n'))}</system-out>`] : []),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

const seconds = (ms: number): string => (ms / 1000).toFixed(3);

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Removes bytes of console output that XML 1.0 cannot represent. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '')
    .replace(/[&<>"]/g, (character) => entities[character] ?? '');
}
