/** `kina recipe …` as users and editors use it; the JSON Schema is checked with Python's jsonschema, not with zod. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { shippedRecipes } from '../../../src/build/recipe/load.ts';
import { projectRoot, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe, version } from '../../support/kina.ts';
import { describeUnless } from '../../support/requirements.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench.close());

const names = await shippedRecipes();
const examples = ['corporate', 'tools', 'own-base', 'kind-like'].map((n) => join(projectRoot, `examples/${n}.yaml`));

async function write(name: string, text: string): Promise<string> {
  const path = join(bench.folder, name);
  await writeFile(path, text);
  return path;
}

describe('list and show', () => {
  test('every shipped recipe with a description', async () => {
    const { stdout } = await bench.kina(['recipe', 'list', '--json']);
    const listed = JSON.parse(stdout) as { name: string; description: string }[];
    expect(listed.map((r) => r.name)).toEqual(names);
    for (const { description } of listed) expect(description).toMatch(/\w{3}/);
  });

  test('show prints the origin of each step of a merged recipe, and is a valid recipe', async () => {
    const child = await write(
      'child.yaml',
      `name: child\nextends: ${smallRecipe}\nlayers:\n  - name: base\n    steps:\n      - symlinks: { links: { x: etc } }\n`,
    );
    const { stdout } = await bench.kina(['recipe', 'show', child]);
    expect(stdout).toMatch(/# .*small\.yaml:\d+:9\n +- directories:/);
    expect(stdout).toMatch(/# child\.yaml:6:9\n +- symlinks:/);
    expect((await bench.kina(['recipe', 'validate', await write('shown.yaml', stdout)])).stdout).toContain('OK');
  });
});

describe('validate', () => {
  test.each([...names, ...examples])('%s is OK', async (name) => {
    const result = await bench.kina(['recipe', 'validate', name]);
    expect(result.stdout + result.stderr).toBe(`${name}: OK\n`);
    expect(result.code).toBe(0);
  });

  test('all problems with line and column, exit code 2', async () => {
    const path = await write('bad.yaml', 'name: x\nlayer: []\nlayers:\n  - name: a\n    steps:\n      - fil: {}\n');
    const result = await bench.kina(['recipe', 'validate', path]);
    expect(result.code).toBe(2);
    expect(result.stdout.split('\n').filter((l) => l !== '')).toEqual([
      expect.stringMatching(/bad\.yaml:2:1: unknown key "layer"; did you mean "layers"\?/),
      expect.stringMatching(/bad\.yaml:6:9: unknown key "fil" in a step; did you mean "file"\?/),
    ]);
  });

  test('an undefined variable, which a build would find only after asking upstream', async () => {
    const path = await write(
      'variable.yaml',
      `name: x\nextends: ${smallRecipe}\nlayers:\n  - name: base\n    steps:\n      - file: { path: a, content: "\${colur} $\${literal}" }\n`,
    );
    const result = await bench.kina(['recipe', 'validate', path, '--json']);
    expect(result.code).toBe(2);
    expect(JSON.parse(result.stdout)).toEqual({
      recipe: path,
      valid: false,
      problems: [{ file: path, line: 6, column: 9, message: 'unknown variable ${colur}; did you mean "colour"?' }],
    });
  });

  test('a file that is not there', async () => {
    const result = await bench.kina(['recipe', 'validate', './none.yaml']);
    expect(result.code).toBe(2);
    expect(result.stdout).toContain('./none.yaml');
  });
});

const noJsonschema =
  (await run(['python3', '-c', 'import jsonschema'])).code === 0 ? undefined : "Python's jsonschema is not installed";

describeUnless(noJsonschema, 'the JSON Schema, checked with jsonschema (Python)', () => {
  const program = [
    'import json, sys, jsonschema',
    'schema, documents = json.load(sys.stdin)',
    'jsonschema.Draft7Validator.check_schema(schema)',
    'v = jsonschema.Draft7Validator(schema)',
    'print(json.dumps([sorted("/".join(map(str, e.absolute_path)) for e in v.iter_errors(d)) for d in documents]))',
  ].join('\n');
  async function judge(documents: unknown[]): Promise<string[][]> {
    const schema = JSON.parse((await bench.kina(['recipe', 'schema'])).stdout);
    const result = await run(['python3', '-c', program], { input: JSON.stringify([schema, documents]) });
    expect(result.stderr).toBe('');
    return JSON.parse(result.stdout) as string[][];
  }

  test('accepts every shipped recipe and example', async () => {
    const files = [...names.map((n) => join(projectRoot, `recipes/${n}.yaml`)), ...examples, smallRecipe];
    const documents = await Promise.all(files.map(async (f) => parse(await readFile(f, 'utf8')) as unknown));
    expect(Object.fromEntries((await judge(documents)).map((e, i) => [files[i], e]))).toEqual(
      Object.fromEntries(files.map((f) => [f, []])),
    );
  });

  test('recipes/recipe.schema.json, which editors use, is what kina prints', async () => {
    const shipped = await readFile(join(projectRoot, 'recipes/recipe.schema.json'), 'utf8');
    expect((await bench.kina(['recipe', 'schema'])).stdout).toBe(shipped);
  });

  test('rejects what kina rejects: unknown keys, two kinds, wrong types, permissions as numbers', async () => {
    const withStep = (step: unknown) => ({ name: 'x', layers: [{ name: 'a', steps: [step] }] });
    const wrong: [unknown, string][] = [
      [{ name: 'x', layer: [] }, ''],
      [{ name: 'X Y' }, 'name'],
      [withStep({ fil: {} }), 'layers/0/steps/0'],
      [withStep({ symlinks: { links: {} }, directories: { paths: {} } }), 'layers/0/steps/0'],
      [withStep({ file: { path: 'a', contents: 'b' } }), 'layers/0/steps/0/file'],
      [withStep({ file: { path: 'a', content: 'b', mode: 420 } }), 'layers/0/steps/0/file/mode'],
      [withStep({ debian: { packages: 'curl' } }), 'layers/0/steps/0/debian/packages'],
    ];
    const judged = await judge(wrong.map(([document]) => document));
    for (const [i, [document, place]] of wrong.entries()) expect(judged[i], JSON.stringify(document)).toContain(place);
  });

  test('a variable is accepted anywhere in a step, even where its value is checked later', async () => {
    const steps = [
      { file: { path: '${p}', content: 'b', mode: '${mode}' } },
      { debian: { packages: ['${package}'], prune: '${prune}' } },
      { systemd: { enable: ['${unit}'] } },
    ];
    expect(await judge([{ name: 'x', layers: [{ name: 'a', steps }] }])).toEqual([[]]);
  });
});

interface PlannedLayer {
  readonly steps: { readonly artifacts: { readonly digest: string }[] }[];
}
const digestsOf = (layer: PlannedLayer): string[] => layer.steps.flatMap((s) => s.artifacts.map((a) => a.digest));

describe('--dry-run', () => {
  test('prints what is cached and what is left to fetch, and fetches nothing', async () => {
    const store = { store: 'dry' };
    const before = JSON.parse((await bench.build(['--dry-run', '--json'], store)).stdout);
    expect(before.total.toFetch.size).toBe(before.total.size);
    const distinct = new Set(before.platforms[0].layers.flatMap(digestsOf));
    expect(before.total.toFetch.artifacts).toBe(distinct.size);
    const text = (await bench.build(['--dry-run'], store)).stdout;
    expect(text).toMatch(/runtime\/containerd +archive +\S+ \w+ +to fetch +https:/);
    expect(text).toMatch(/node\/systemd +systemd +the recipe/);
    digestIn(await bench.build([], store));
    const after = JSON.parse((await bench.build(['--dry-run', '--json'], store)).stdout);
    expect(after.total).toEqual({ size: before.total.size, toFetch: { artifacts: 0, size: 0 } });
    expect((await bench.build(['--dry-run'], store)).stdout).toContain('nothing to fetch');
    expect(bench.upstream.requests.some((path) => path.includes(version))).toBe(true);
  });

  test('only a changed download is left to fetch, and platforms are summed up', async () => {
    const store = { store: 'dry-two' };
    digestIn(await bench.build([], store));
    const both = JSON.parse(
      (await bench.build(['--dry-run', '--json', '--platform', 'linux/amd64,linux/arm64'], store)).stdout,
    );
    const [first, second] = both.platforms;
    expect(first.total.toFetch.artifacts).toBe(0);
    expect(second.total.toFetch.artifacts).toBe(both.total.toFetch.artifacts);
    expect(second.layers[0].steps[0]).toMatchObject({ id: 'base/directories', toFetch: { artifacts: 0 } });
  });
});
