/** What `kina image test` says where it cannot even begin: every reason before anything is started, each with a way out. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CommandResult } from '../../support/command.ts';
import { type Bench, openBench } from '../../support/kina.ts';

const ref = 'localhost/kina/small:v1.34.2';
/** Where there is neither engine nor emulator. */
const nothing = mkdtempSync(join(tmpdir(), 'kina-path-'));
const [own, other] = process.arch === 'arm64' ? ['arm64', 'amd64'] : ['amd64', 'arm64'];

describe('kina image test', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
    expect((await bench.build(['--platform', 'linux/amd64,linux/arm64'])).code).toBe(0);
  });
  afterAll(async () => {
    await bench.close();
    rmSync(nothing, { recursive: true });
  });
  const image = (args: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> =>
    bench.kina(['image', 'test', ref, ...args], { env: { PATH: nothing, ...env } });

  test('without engine and emulator it says what to install, and what is wrong with what is there', async () => {
    const { code, stdout, stderr } = await image(['--platform', `linux/${own}`]);
    expect(stdout).toBe('');
    expect(stderr).toContain(`nothing here can boot a ${own} image`);
    expect(stderr).toContain('podman is not installed or not in PATH');
    expect(stderr).toMatch(/Install podman or docker.*qemu-system-/);
    expect(code).toBe(1);
  });

  test('another architecture needs the emulator, whatever engines there are', async () => {
    const { code, stderr } = await image(['--platform', `linux/${other}`], { PATH: dirname(process.execPath) });
    expect(stderr).toMatch(/qemu-system-\S+ is not installed\nInstall qemu-system-\S+ \(Debian: qemu-system-/);
    expect(code).toBe(1);
  });

  test.each([
    [['--timeout', 'soon'], '--timeout soon'],
    [['--timeout', '0'], '--timeout 0: expected a time above 0'],
    [['--platform', 'linux/amd64,linux/arm64'], 'expected a single platform'],
    [['--provider', 'dokcer'], 'did you mean'],
    [['--junit', '/dev/null'], 'cannot write the JUnit report /dev/null'],
  ])('%j is wrong input', async (args, said) => {
    const { code, stderr } = await image(args);
    expect(stderr).toContain(said);
    expect(code).toBe(2);
  });

  test('an engine of this host cannot be told to run the other architecture', async () => {
    const { code, stderr } = await image(['--platform', `linux/${other}`, '--provider', 'podman']);
    expect(stderr).toContain(`podman on this host cannot run ${other} images`);
    expect(code).toBe(1);
  });

  test('no report is written when nothing was tested', async () => {
    const path = join(bench.folder, 'report.xml');
    expect((await image(['--junit', path])).code).toBe(1);
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
  });
});
