/** Links between the documents of the project lead somewhere. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../support/command.ts';

/** The anchor that GitHub makes of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

const anchorsIn = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!));

test.each(globSync(['*.md', 'docs/*.md'], { cwd: projectRoot }).sort())('%s', (name) => {
  const file = join(projectRoot, name);
  const text = readFileSync(file, 'utf8').replace(/^```.*?^```/gms, '');
  const broken = [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
    if (/^[a-z]+:/.test(link!)) return [];
    const [path = '', anchor] = link!.split('#');
    const target = path === '' ? file : join(dirname(file), path);
    if (!existsSync(target)) return [link];
    return anchor === undefined || anchorsIn(target).includes(anchor) ? [] : [link];
  });
  expect(broken).toEqual([]);
});
