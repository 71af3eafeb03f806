/** Wrong arguments: the error names them and suggests a fix, and the exit code is 2. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bench, openBench, smallRecipe } from '../../support/kina.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench.close());

describe('arguments', () => {
  test.each([
    [['bild'], 'kina has no command "bild"; did you mean "build"?'],
    [['bild', '--recipe', 'x'], 'kina has no command "bild"; did you mean "build"?'],
    [['build', 'node-imag', 'v1.34.2'], 'kina build has no command "node-imag"; did you mean "node-image"?'],
    [['image', 'inspct', 'x'], 'kina image has no command "inspct"; did you mean "inspect"?'],
    [['build', 'node-image', '--platfrom', 'x'], `unknown option '--platfrom'; did you mean "--platform"?`],
    [['--verbos'], `unknown option '--verbos'; did you mean "--verbose"?`],
    [['build', 'node-image', 'v1.34.2', 'v1.33.1'], 'too many arguments'],
    [['build', 'node-image', '--output'], "option '-o, --output <spec>' argument missing"],
    [['image', 'inspect'], "missing required argument 'ref'"],
    [['image'], 'a command is missing'],
    [['build', 'node-image', '--platform', 'linux/amd46'], 'unknown platform "linux/amd46"'],
    [
      ['build', 'node-image', '--platform', 'linux/arm64', '--arch', 'arm64'],
      '--platform and --arch cannot be used together',
    ],
    [['build', 'node-image', '--set', 'motd'], '--set motd: expected key=value'],
    [
      ['build', 'node-image', '--output', 'type=oci-archiv,dest=x'],
      'unknown type "oci-archiv"; did you mean "oci-archive"?',
    ],
    [['build', 'node-image', '--output', 'typ=oci,dest=x'], 'unknown field "typ"; did you mean "type"?'],
    [['build', 'node-image', '--output', 'type=oci-archive'], 'dest is missing'],
    [['build', 'node-image', '--output', 'type=oci,dest=-'], 'cannot be written to standard output'],
    [['build', 'node-image', '--output', '-', '--output', '-'], 'two outputs have the destination -'],
    [
      ['build', 'node-image', '--output', 'a.tar', '--output', 'x/../a.tar'],
      'two outputs have the destination x/../a.tar',
    ],
    [['build', 'node-image', '--compression', 'zstandard'], '--compression zstandard: unknown compression'],
    [['build', 'node-image', '--compression', 'gzip:10'], '--compression gzip:10: the level must be 1 to 9'],
    [['build', 'node-image', '--compression', 'zstd:20'], '--compression zstd:20: the level must be 1 to 19'],
    [['build', 'node-image', '--mirror', 'mirror.example'], 'mirror.example'],
    [['build', 'node-image', '--debian-mirror', 'ftp://x'], '--debian-mirror'],
    [
      ['build', 'node-image', '--tag', 'Upper/Case:1'],
      '"Upper/Case:1" is not an image reference: names must be lower case',
    ],
    [['build', 'node-image', '--tag', 'a b'], '"a b" is not an image reference'],
    [['build', 'node-image', 'v1.99.0'], 'no row for Kubernetes v1.99.0 in the version table'],
    [['build', 'node-image', 'v1.34.x'], '"v1.34.x" is not a Kubernetes version, a URL, a file or a folder'],
    [['build', 'node-image', '--type', 'relase', 'v1.34.2'], 'unknown source type "relase"; did you mean "release"?'],
    [['build', 'node-image', '--recipe', 'debian', 'v1.34.2'], 'does not use a Kubernetes source'],
    [['build', 'node-image', '--recipe', 'nod'], 'no recipe "nod"; did you mean "node"?'],
    [['build', 'node-image', '--recipe', 'versions'], 'no recipe "versions"'],
    [['build', 'node-image', '--locked'], 'no lock file kina.lock'],
    [['build', 'node-image', '--lock', '.'], 'the lock . cannot be read'],
    [['build', 'node-image', '--recipe', 'debian', '--set', 'suite=bookwrm'], '; did you mean "bookworm"?'],
    [['build', 'node-image', 'v1.34.2', '--report', '.'], 'cannot write the report .: it is a folder'],
    [['lock', 'v1.34.2', '--output', '.'], 'cannot write the lock .: it is a folder'],
    [['lock', 'v1.34.2', '--output', '/dev/null'], 'cannot write the lock /dev/null: it is not a regular file'],
    [['lock', 'v1.34.2', '--output', '/dev/null/x'], 'cannot write the lock /dev/null/x: /dev/null is not a folder'],
    [['cache', 'prune', '--keep-storage', 'lots'], '--keep-storage lots: expected a size such as 10GB'],
  ])('kina %j', async (args, words) => {
    const result = await bench.kina(args);
    expect(result.stderr).toContain(words);
    expect(result.code).toBe(2);
    expect(result.stdout).toBe('');
  });

  test('several problems in --set are reported together', async () => {
    const result = await bench.build(['--set', 'modt=x', '--set', 'colour=blue', '--set', 'runcc=1']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('--set modt: the recipe has no such variable; did you mean "motd"?');
    expect(result.stderr).toContain('--set runcc: the recipe has no such variable; did you mean "runc"?');
    expect(result.stderr).toContain('colour is "blue", but must be one of: red, green');
  });

  // The last is a second more than a tar header holds.
  test.each(['yesterday', '-1', '1.5', '8589934592'])(
    'SOURCE_DATE_EPOCH=%s is refused before anything is done',
    async (epoch) => {
      const result = await bench.build([], { env: { SOURCE_DATE_EPOCH: epoch } });
      expect(result.code).toBe(2);
      expect(result.stderr).toContain(`SOURCE_DATE_EPOCH is "${epoch}"`);
      expect(bench.upstream.requests).toEqual([]);
    },
  );

  test('an invalid tag in a recipe is refused before anything is written', async () => {
    const folder = await bench.place('tag');
    const recipe =
      'name: x\nimage: { tag: "localhost/UP:1" }\nlayers: [{ name: a, steps: [{ symlinks: { links: { a: b } } }] }]\n';
    await writeFile(join(folder, 'x.yaml'), recipe);
    const result = await bench.kina(['build', 'node-image', '--recipe', './x.yaml', '--dry-run'], { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('"localhost/UP:1" is not an image reference: names must be lower case');
    expect(result.stdout).toBe('');
  });

  test('errors are JSON with --json', async () => {
    const result = await bench.kina(['image', 'inspect', 'nothing:here', '--json']);
    expect(result.code).toBe(1);
    expect(JSON.parse(result.stdout).error).toMatchObject({ code: 'not-found', message: expect.any(String) });
    expect(result.stderr).toContain('ERROR: image not found: nothing:here');
  });

  test('JSON and an archive cannot share standard output', async () => {
    const result = await bench.kina(['build', 'node-image', '--output', '-', '--json']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('--json and an archive on standard output cannot be used together');
  });
});

describe('help', () => {
  test.each([
    [[], /Commands:/],
    [['--help'], /Commands:/],
    [['help'], /Commands:/],
    [['build', '--help'], /node-image/],
    [['help', 'build'], /node-image/],
    [['build', 'node-image', '--help'], /--platform <list>/],
    [['lock', '--help'], /--output <file>/],
    [['image', '--help'], /inspect/],
    [['image', 'ls', '--help'], /--json/],
    [['cache', 'prune', '--help'], /--keep-storage/],
    [['--version'], /^kina version \d+\.\d+\.\d+\n$/],
    [['version'], /^kina v\d+\.\d+\.\d+ node\d+\.\d+\.\d+ \w+\/\w+\n$/],
  ])('kina %j', async (args, words) => {
    const result = await bench.kina(args);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toMatch(words);
    expect(result.stdout).not.toMatch(/default: (false|\[\])/);
  });
});

describe('recipes', () => {
  const recipe = async (text: string): Promise<string> => {
    const path = join(bench.folder, 'mine.yaml');
    await writeFile(path, text);
    return path;
  };

  test('every typo in a file with line, column and suggestion', async () => {
    const path = await recipe(`name: mine
extend: node
layers:
  - name: one
    steps:
      - fiel: { path: etc/a, content: a }
      - file: { path: etc/b, contnet: b }
      - file: { path: etc/c, content: c }
        optionl: true
    step: []
`);
    const result = await bench.kina(['build', 'node-image', '--recipe', path]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(`${path}:2:1: unknown key "extend"; did you mean "extends"?`);
    expect(result.stderr).toContain(`${path}:6:9: unknown key "fiel" in a step; did you mean "file"?`);
    expect(result.stderr).toMatch(/mine\.yaml:7:30: unknown key "contnet"; did you mean "content"\?/);
    expect(result.stderr).toContain(`${path}:9:9: unknown key "optionl" in a step; did you mean "optional"?`);
    expect(result.stderr).toContain(`${path}:10:5: unknown key "step"; did you mean "steps"?`);
    // In the order of the file, and nothing that only follows from a typo.
    const lines = [...result.stderr.matchAll(/mine\.yaml:(\d+):/g)].map((m) => Number(m[1]));
    expect(lines).toEqual([2, 6, 7, 9, 10]);
  });

  test('invalid YAML: line and column', async () => {
    const path = await recipe('name: mine\nlayers: [\n  - name: one\n');
    const result = await bench.kina(['build', 'node-image', '--recipe', path]);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/mine\.yaml:\d+:\d+: /);
    expect(result.stderr).not.toMatch(/at .*\.js:\d+/);
  });

  test.each([
    ['a variable', 'file: { path: etc/a, content: "${motdd}" }', 'unknown variable ${motdd}; did you mean "motd"?'],
    ['a unit', 'systemd: { enable: [smal.service] }', 'did you mean "small.service"?'],
    [
      'a binary',
      'kubernetes: { binaries: [kubelt], into: usr/bin }',
      'binaries[0]: expected one of: kubeadm, kubelet, kubectl; did you mean "kubelet"?',
    ],
    ['a number for permissions', 'file: { path: etc/a, content: a, mode: 0644 }', 'mode'],
    [
      'a path outside the image',
      'file: { path: ../etc/a, content: a }',
      'path: a path in the image may not contain "." or ".."',
    ],
    ['a file that is not there', 'file: { path: etc/a, source: nothing.txt }', 'nothing.txt does not exist'],
    ['a file of another step', 'file: { path: usr/bin/kubelet, content: mine }', '/usr/bin/kubelet'],
    ['a download without a checksum', 'file: { path: etc/a, url: "https://files.example/a" }', 'has no checksum'],
  ])('%s', async (_what, step, words) => {
    const path = await recipe(
      `name: mine\nextends: ${smallRecipe}\nlayers:\n  - name: mine\n    steps:\n      - ${step}\n`,
    );
    const result = await bench.build(['--recipe', path]);
    expect(result.stderr).toContain(words);
    expect(result.stderr).not.toContain('bug in kina');
    expect(result.code).toBeGreaterThan(0);
    expect(result.stdout).toBe('');
  });
});
