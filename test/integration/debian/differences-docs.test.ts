import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rules } from '../../e2e/mmdebstrap/rules.ts';
import { projectRoot } from '../../support/command.ts';

test('the table in docs/debian-differences.md is the one that the comparison goes by', () => {
  const rows = rules.map(({ where, variant, why }) => `| ${where} | ${variant ?? 'both'} | ${why} |`);
  const table = ['| where | compared | why |', '|---|---|---|', ...rows].join('\n');
  const text = readFileSync(join(projectRoot, 'docs/debian-differences.md'), 'utf8');
  expect(text.match(/^\|.*(\n\|.*)*/m)?.[0]).toBe(table);
});
