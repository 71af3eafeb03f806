import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadRecipe, shippedRecipes } from '../../../src/build/recipe/load.ts';
import { KinaError } from '../../../src/host/errors.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-recipe-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function problems(text: string): Promise<string[]> {
  const path = await write('bad.yaml', text);
  const error = await loadRecipe(path).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(KinaError);
  expect((error as KinaError).code).toBe('recipe');
  return (error as KinaError).details.map((d) => d.replace(`${path}:`, ''));
}

describe('shipped recipes', () => {
  test('all load, and debian and node are among them', async () => {
    const names = await shippedRecipes();
    expect(names).toEqual(expect.arrayContaining(['debian', 'node']));
    for (const name of names) expect((await loadRecipe(name)).name).toBe(name);
  });

  test('a wrong name suggests the right one', async () => {
    await expect(loadRecipe('debain')).rejects.toThrow('did you mean "debian"?');
  });
});

describe('mistakes are found with line, column and a suggestion, all at once', () => {
  test('unknown keys at every level', async () => {
    const found = await problems(
      [
        'name: x',
        'layer: []',
        'layers:',
        '  - name: base',
        '    stepz: []',
        '    steps:',
        '      - file: { path: a, contents: hi }',
        '      - archiv: { url: u }',
      ].join('\n'),
    );
    expect(found.join('\n')).toMatch(/^2:1: unknown key "layer"; did you mean "layers"\?/m);
    expect(found.join('\n')).toMatch(/^5:5: unknown key "stepz"; did you mean "steps"\?/m);
    expect(found.join('\n')).toMatch(/^7:26: unknown key "contents"; did you mean "content"\?/m);
    expect(found.join('\n')).toMatch(/^8:9: unknown key "archiv" in a step; did you mean "archive"\?/m);
  });

  test('a step with two kinds, and one with none', async () => {
    const found = await problems(
      [
        'name: x',
        'layers:',
        '  - name: base',
        '    steps:',
        '      - { symlinks: { links: {} }, directories: { paths: {} } }',
        '      - { when: { platform: linux/arm64 } }',
      ].join('\n'),
    );
    expect(found[0]).toContain('a step has one kind, this has symlinks and directories');
    expect(found[1]).toContain('a step needs one of:');
  });

  test('permissions written as a number are refused: YAML reads 0644 as 644', async () => {
    const found = await problems(
      ['name: x', 'layers:', '  - name: base', '    steps:', '      - file: { path: a, content: b, mode: 0644 }'].join(
        '\n',
      ),
    );
    expect(found[0]).toContain('expected permissions in quotes');
  });

  test('broken YAML', async () => {
    expect((await problems('name: x\nlayers: [\n'))[0]).toMatch(/^\d+:\d+: /);
  });

  test('the same key twice', async () => {
    expect((await problems('name: x\nname: y\n'))[0]).toMatch(/^2:1: Map keys must be unique/);
  });
});

describe('extends', () => {
  test('steps are appended to layers that exist, new layers follow', async () => {
    await write(
      'parent.yaml',
      'name: parent\nvariables: { v: { default: a, description: d } }\nimage: { env: { A: "1", B: "1" } }\nlayers:\n  - { name: base, steps: [{ directories: { paths: { a: "0755" } } }] }\n  - { name: config, steps: [] }\n',
    );
    const child = await write(
      'child.yaml',
      'name: child\nextends: ./parent.yaml\nvariables: { v: { default: b } }\nimage: { env: { B: "2" } }\nlayers:\n  - { name: mine, steps: [] }\n  - { name: base, steps: [{ symlinks: { links: { b: a } } }] }\n',
    );
    const recipe = await loadRecipe(child);
    expect(recipe.layers.map((l) => [l.name, l.steps.map((s) => s.kind)])).toEqual([
      ['base', ['directories', 'symlinks']],
      ['config', []],
      ['mine', []],
    ]);
    expect(recipe.variables.v).toEqual({ default: 'b', description: 'd' });
    expect(recipe.image.env).toEqual({ A: '1', B: '2' });
  });

  test("reset drops the parent's steps of a layer and keeps its place", async () => {
    await write(
      'ground.yaml',
      'name: ground\nlayers:\n  - { name: base, steps: [{ directories: { paths: { a: "0755" } } }] }\n  - { name: config, steps: [] }\n',
    );
    const reset = (layer: string): Promise<string> =>
      write(
        'reset.yaml',
        `name: reset\nextends: ./ground.yaml\nlayers:\n  - { name: ${layer}, reset: true, steps: [{ symlinks: { links: { b: a } } }] }\n`,
      );
    expect((await loadRecipe(await reset('base'))).layers.map((l) => [l.name, l.steps.map((s) => s.kind)])).toEqual([
      ['base', ['symlinks']],
      ['config', []],
    ]);
    // Silently adding a layer would leave the steps that were to go.
    await expect(loadRecipe(await reset('bsae'))).rejects.toThrow(
      'no recipe below has a layer bsae; did you mean "base"?',
    );
  });

  test('a circle is named, not followed', async () => {
    await write('one.yaml', 'name: one\nextends: ./two.yaml\n');
    const two = await write('two.yaml', 'name: two\nextends: ./one.yaml\n');
    await expect(loadRecipe(two)).rejects.toThrow('in a circle');
  });
});
