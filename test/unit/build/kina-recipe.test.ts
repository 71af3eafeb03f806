/** The recipe of kina's own image follows the project: a release, another Node.js or a new dependency must not break it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadRecipe } from '../../../src/build/recipe/load.ts';
import { npmKind } from '../../../src/layers/kinds/npm.ts';
import { neededPackages, parsePackageLock } from '../../../src/layers/npm/lockfile.ts';
import { projectRoot } from '../../support/command.ts';
import { parseStep } from '../../support/steps.ts';

const registry = 'https://npm.example.org/';
const lock = parsePackageLock(readFileSync(join(projectRoot, 'package-lock.json'), 'utf8'), 'package-lock.json');
const recipe = await loadRecipe('kina');

test('its versions are those of the package and of the Node.js that it is developed with', () => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string };
  expect(recipe.variables.version?.default).toBe(version);
  expect(recipe.variables.node?.default).toBe(lock['node_modules/node']?.version);
});

test('what the dependencies run at installation is known, what it leaves out is there', () => {
  const steps = recipe.layers.flatMap((layer) => layer.steps).filter((step) => step.kind === 'npm');
  expect(steps).toHaveLength(1);
  const { exclude = [], withoutScripts = [] } = parseStep(npmKind, steps[0]!.body).settings as {
    exclude?: string[];
    withoutScripts?: string[];
  };
  for (const architecture of ['amd64', 'arm64'] as const) {
    const packages = neededPackages(lock, 'package-lock.json', { architecture, exclude, registry });
    expect(packages.filter((one) => one.hasScript).map((one) => one.name)).toEqual(withoutScripts);
    const all = neededPackages(lock, 'package-lock.json', { architecture, exclude: [], registry }).map(
      (one) => one.name,
    );
    expect(all).toEqual(expect.arrayContaining(exclude));
    const cpu = { amd64: 'x64', arm64: 'arm64' }[architecture];
    expect(packages.filter(({ name }) => name.includes('lzma-')).map(({ name }) => name)).toEqual([
      `@napi-rs/lzma-linux-${cpu}-gnu`,
    ]);
  }
});
