/** The example in docs/step-kinds.md, followed to the letter in a copy of the source: one file, one line. */
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandResult, check, projectRoot, run } from '../../support/command.ts';

let folder: string;
let recipe: string;

/** The code blocks of the page that begin with a mark, by language. */
function block(page: string, language: string, begin: string): string {
  const found = [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].find(
    ([, of, text]) => of === language && text!.startsWith(begin),
  );
  if (!found) throw new Error(`docs/step-kinds.md has no block of ${language} that begins with ${begin}`);
  return found[2]!;
}

/** The program of the copy, run from its source. */
async function kina(...args: string[]): Promise<CommandResult> {
  const program = `import(${JSON.stringify(join(folder, 'src/cli/main.ts'))}).then((m) => m.main(process.argv.slice(1)))`;
  const env = { KINA_CACHE_DIR: join(folder, 'store'), KINA_CONFIG: join(folder, 'no-config.yaml') };
  return run([process.execPath, '-e', program, '--', ...args], { cwd: recipe, env, timeout: 120 });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-step-kinds-'));
  recipe = join(folder, 'recipe');
  await mkdir(recipe);
  for (const part of ['src', 'recipes', 'package.json'])
    await cp(join(projectRoot, part), join(folder, part), { recursive: true });
  await symlink(join(projectRoot, 'node_modules'), join(folder, 'node_modules'));
  const page = await readFile(join(projectRoot, 'docs/step-kinds.md'), 'utf8');
  await writeFile(join(folder, 'src/layers/kinds/sysctl.ts'), block(page, 'ts', '/** `sysctl`'));
  await appendFile(join(folder, 'src/layers/kinds/table.ts'), block(page, 'ts', 'export {'));
  await writeFile(join(recipe, 'tuned.yaml'), block(page, 'yaml', 'name: tuned'));
  await writeFile(join(recipe, 'network.conf'), block(page, '', 'net.ipv4'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const platform = ['--recipe', './tuned.yaml', '--platform', 'linux/amd64'];

test('the schema for editors has the kind', async () => {
  const { stdout } = await kina('recipe', 'schema');
  expect(JSON.parse(stdout).definitions.sysctl).toMatchObject({ type: 'object', required: ['name'] });
});

test('a step of the kind is planned and built, and its file is in the layer', async () => {
  const plan = await kina('build', 'node-image', ...platform, '--dry-run');
  expect(plan).toMatchObject({ code: 0, stdout: expect.stringMatching(/tuning\/sysctl +sysctl/) });
  expect(await kina('build', 'node-image', ...platform, '--tag', 'localhost/tuned:1')).toMatchObject({ code: 0 });
  const { platforms } = JSON.parse((await kina('image', 'inspect', 'localhost/tuned:1', '--json')).stdout);
  const layer = join(folder, 'store/blobs/sha256', platforms[0].layers[0].digest.slice(7));
  expect(await check(['tar', '-xOf', layer, 'etc/sysctl.d/90-node.conf'])).toBe(
    'net.ipv4.tcp_fin_timeout = 30\nvm.max_map_count = 262144\nnet.core.somaxconn = 4096',
  );
});

test('a lock pins the file beside the recipe, and a misspelled key is an error', async () => {
  expect(await kina('lock', ...platform)).toMatchObject({ code: 0 });
  expect(await readFile(join(recipe, 'kina.lock'), 'utf8')).toMatch(/inputs:\n +network\.conf: sha256:/);
  await writeFile(join(recipe, 'network.conf'), 'net.ipv4.tcp_fin_timeout = 60\n');
  const changed = await kina('build', 'node-image', ...platform, '--locked');
  expect(changed).toMatchObject({ code: 2, stderr: expect.stringContaining('network.conf differs from the file') });
  const text = await readFile(join(recipe, 'tuned.yaml'), 'utf8');
  await writeFile(join(recipe, 'tuned.yaml'), text.replace('source:', 'sorce:'));
  const misspelled = await kina('build', 'node-image', ...platform);
  expect(misspelled).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean "source"?') });
});
