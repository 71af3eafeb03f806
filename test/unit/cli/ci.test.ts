/** For CI: the matrix of jobs, the GitHub action and the examples, all of which use only existing commands and flags. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { versionTable } from '../../../src/build/versions.ts';
import { program } from '../../../src/cli/program.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { jobMatrix } from '../../../src/ops/ci/matrix.ts';
import { projectRoot } from '../../support/command.ts';
import { kinaCommands, problemWith } from '../../support/command-lines.ts';
import { describeWith } from '../../support/requirements.ts';

const platforms = ['linux/amd64', 'linux/arm64'].map(parsePlatform);
const kina = program();

describe('the matrix', () => {
  test('by default the newest three minors, each with its newest patch, for every platform', async () => {
    const rows = (await versionTable()).slice(-3);
    const { include } = await jobMatrix({ versions: [], platforms, join: false });
    expect(include).toEqual(
      rows.flatMap(({ latest, kubernetes }) =>
        ['linux/amd64', 'linux/arm64'].map((platform) => ({ version: latest, minor: kubernetes, platform })),
      ),
    );
  });
  test('named versions, once each; platforms joined for an index', async () => {
    const { include } = await jobMatrix({ versions: ['1.20', 'v1.34.2', '1.34.2'], platforms, join: true });
    expect(include).toEqual([
      { version: 'v1.20.15', minor: '1.20', platform: 'linux/amd64,linux/arm64' },
      { version: 'v1.34.2', minor: '1.34', platform: 'linux/amd64,linux/arm64' },
    ]);
  });
  test('all unknown versions are listed', async () => {
    await expect(jobMatrix({ versions: ['1.3', 'stable', '1.34'], platforms, join: false })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/1\.3.*stable/),
    });
  });
});

test('the check of command lines finds errors', () => {
  const problem = (line: string) => problemWith(kina, kinaCommands(line)[0]!);
  expect(problem('x=$(kina ci matrix --versions "1.34, 1.35" --json) || exit')).toBeUndefined();
  expect(problem('kina biuld node-image')).toContain('no command biuld');
  expect(problem('kina push a --sobm')).toContain('no flag --sobm');
  expect(problem('kina push --sbom=yes a')).toContain('takes no value');
  expect(problem('kina push a --platform --sbom')).toContain('lacks its value');
  expect(problem('kina image sbom a --format xml')).toContain('--format does not accept xml');
  expect(problem('kina push')).toContain('missing');
  expect(problem('kina lock a b')).toContain('too many');
});

/** Every script and every command of a container in a document. */
function scriptsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(scriptsIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (key === 'run' && typeof inner === 'string') return [inner];
    if (/^(before_|after_)?script$/.test(key)) return [(inner as string[]).join('\n')];
    if (key === 'command') return [[...(inner as string[]), ...((value as { args?: string[] }).args ?? [])].join(' ')];
    return scriptsIn(inner);
  });
}

const folder = join(projectRoot, 'examples/ci');
const workflows = join(projectRoot, '.github/workflows');
const files = [
  ...[folder, workflows].flatMap((from) => readdirSync(from).map((name) => join(from, name))),
  join(projectRoot, 'action.yml'),
];
describe.each(files)('%s', (file) => {
  const scripts = scriptsIn(parse(readFileSync(file, 'utf8')));
  test('is YAML, its scripts are shell, and every command and flag exists', () => {
    expect(scripts.length).toBeGreaterThan(0);
    const commands = scripts.flatMap(kinaCommands);
    if (!file.startsWith(workflows)) expect(commands.length).toBeGreaterThan(0);
    expect(commands.map((words) => problemWith(kina, words)).filter(Boolean)).toEqual([]);
    for (const script of scripts) execFileSync('bash', ['-n'], { input: script });
  });
  describeWith('shellcheck', ['shellcheck'], () => {
    test('finds nothing', () => {
      // As GitHub and GitLab run it: the first failure ends it.
      for (const script of scripts)
        execFileSync('shellcheck', ['--shell=bash', '-'], { input: `set -eo pipefail\n${script}` });
    });
  });
});

describe('the action', () => {
  const action = parse(readFileSync(join(projectRoot, 'action.yml'), 'utf8'));
  const step = action.runs.steps.find(({ id }: { id?: string }) => id === 'build');

  /** The words that kina gets from these inputs. */
  function wordsFor(inputs: Record<string, string>): string[] {
    const place = mkdtempSync(join(tmpdir(), 'kina-action-'));
    try {
      writeFileSync(join(place, 'kina'), '#!/bin/sh\nprintf "%s\\0" "$@"\n', { mode: 0o755 });
      const env = Object.entries(step.env as Record<string, string>).map(([name, expression]) => {
        const input = /^\$\{\{ inputs\.([a-z-]+) \}\}$/.exec(expression)![1]!;
        return [name, inputs[input] ?? action.inputs[input].default];
      });
      const PATH = `${place}:${process.env.PATH}`;
      const options = { env: { ...Object.fromEntries(env), PATH }, encoding: 'utf8' as const };
      return execFileSync('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', step.run], options)
        .split('\0')
        .slice(0, -1);
    } finally {
      rmSync(place, { recursive: true });
    }
  }

  test('builds with its defaults, and with everything', () => {
    const least = wordsFor({});
    expect(least).toEqual('build node-image --platform=linux/amd64,linux/arm64'.split(' '));
    const most = wordsFor({
      source: 'v1.34.2',
      lock: 'my lock',
      push: 'true',
      tags: 'ghcr.io/a/b:1\n\nghcr.io/a/b:2\n',
      'cache-from': 'ghcr.io/a/c',
      'cache-to': 'ghcr.io/a/c',
      recipe: 'a recipe.yaml',
    });
    expect(most.filter((word) => word.startsWith('--tag='))).toHaveLength(2);
    expect(most).toContain('--lock=my lock');
    expect(most).toContain('--recipe=a recipe.yaml');
    expect(most.at(-1)).toBe('v1.34.2');
    for (const words of [least, most]) expect(problemWith(kina, words)).toBeUndefined();
  });

  test('an input is a shell word and never part of the script', () => {
    expect(wordsFor({ source: '$(touch /tmp/x); "' }).at(-1)).toBe('$(touch /tmp/x); "');
    for (const { run } of action.runs.steps) expect(run ?? '').not.toContain('${{');
  });

  test('an input cannot become a flag', () => {
    expect(wordsFor({ source: '--push' }).slice(-2)).toEqual(['--', '--push']);
    const flags = { recipe: '--push', lock: '--push', platforms: '--push', tags: '--push', 'cache-from': '--push' };
    for (const word of wordsFor(flags).slice(2)) expect(word).toMatch(/^--[a-z-]+=--push$/);
    expect(() => wordsFor({ push: 'yes' })).toThrow();
  });

  test('its outputs are those of a push', () => {
    const source = readFileSync(join(projectRoot, 'src/cli/handlers/shared/published.ts'), 'utf8');
    for (const name of Object.keys(action.outputs))
      expect(source).toMatch(new RegExp(`[\`\\n]${name}[=<]|\\\\n${name}[=<]`));
  });
});
