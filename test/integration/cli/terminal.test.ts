/** Progress in a real terminal: tmux runs kina and captures what a user sees. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, cleanEnvironment, run } from '../../support/command.ts';
import { type Bench, openBench, smallRecipe } from '../../support/kina.ts';
import { describeWith } from '../../support/requirements.ts';

const spinner = /[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/;

describeWith('progress on a terminal', ['tmux'], () => {
  const socket = `kina-test-${process.pid}`;
  const body = Buffer.alloc(12 << 20, 'slow ');
  let bench: Bench;
  /** Bytes that the slow server sends in a tick of 100 ms; everything at once when undefined. */
  let pace: number | undefined;

  beforeAll(async () => {
    bench = await openBench();
    bench.upstream.intercept = (path, response) => {
      if (path !== '/files.example/slow') return false;
      response.writeHead(200, { 'content-length': String(body.length) });
      if (response.req.method === 'HEAD' || pace === undefined) {
        response.end(response.req.method === 'HEAD' ? undefined : body);
        return true;
      }
      let sent = 0;
      const timer = setInterval(() => {
        const part = body.subarray(sent, sent + (pace ?? body.length));
        sent += part.length;
        response.write(part);
        if (sent < body.length && !response.destroyed) return;
        clearInterval(timer);
        response.end();
      }, 100);
      return true;
    };
    const digest = createHash('sha256').update(body).digest('hex');
    await writeFile(
      join(bench.folder, 'slow.yaml'),
      `name: slow\nextends: ${smallRecipe}\nlayers:\n  - name: slow\n    steps:\n      - file: { path: srv/slow, url: "https://files.example/slow", checksum: { sha256: ${digest} } }\n`,
    );
  });
  afterAll(async () => {
    await run(['tmux', '-L', socket, 'kill-server']);
    await bench.close();
  });

  const tmux = (...args: string[]): Promise<string> =>
    check(['tmux', '-u', '-L', socket, '-f', '/dev/null', ...args], { env: { LANG: 'C.UTF-8', TMUX: undefined } });
  const screen = async (): Promise<string[]> =>
    (await tmux('capture-pane', '-p', '-t', 'kina')).split('\n').map((line) => line.trimEnd());

  /** Opens a terminal, runs a build in it and looks again and again until it has ended; `at` may press keys. */
  async function watch(
    store: string,
    columns: number,
    at: (lines: readonly string[], keys: (...names: string[]) => Promise<unknown>) => Promise<void> = async () => {},
    // Tests often run in CI, where terminals are not used as such.
    extra: Readonly<Record<string, string | undefined>> = { CI: undefined },
  ): Promise<{ seen: string[][]; end: string[]; cursor: string }> {
    const { argv, env } = bench.command(['--recipe', './slow.yaml'], { store });
    const clean = cleanEnvironment({ ...env, ...extra, LANG: 'C.UTF-8', TERM: 'tmux-256color' });
    const script = join(bench.folder, `${store}.sh`);
    const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
    const exports = Object.entries(clean).filter(([name]) => /^[A-Z_]+$/.test(name) && !/^TMUX/.test(name));
    await writeFile(
      script,
      `trap : INT\ncd ${quote(bench.folder)}\n${exports.map(([n, v]) => `export ${n}=${quote(v ?? '')}`).join('\n')}\n${argv.map(quote).join(' ')}\necho "ENDED $?"\nsleep 600\n`,
    );
    await tmux('new-session', '-d', '-s', 'kina', '-x', String(columns), '-y', '50', `env -i sh ${script}`);
    try {
      const seen: string[][] = [];
      for (let lines = await screen(); ; lines = await screen()) {
        seen.push(lines);
        if (lines.some((line) => line.startsWith('ENDED'))) break;
        if (seen.length > 2000) throw new Error(`no end in sight:\n${lines.join('\n')}`);
        await at(lines, (...names) => tmux('send-keys', '-t', 'kina', ...names));
        await sleep(50);
      }
      const cursor = await tmux('display-message', '-p', '-t', 'kina', '#{cursor_flag}');
      return { seen, end: seen.at(-1)!.filter((line) => line !== ''), cursor };
    } finally {
      await tmux('kill-session', '-t', 'kina');
    }
  }

  test('shows what is fetched, how much, how fast and how long; ends with ticks, table, digest', async () => {
    pace = 300_000;
    const { seen, end, cursor } = await watch('store', 100);
    const lines = seen.flat();
    // The whole is known from the start, what is waited for has its name.
    expect(lines.some((line) => /^[^\w✔✖] Fetching +\d.* of 13 MB, \d\S* \wB\/s(, \d+ s left)?$/.test(line))).toBe(
      true,
    );
    expect(lines.some((line) => /, \d+ s left$/.test(line))).toBe(true);
    expect(lines.some((line) => /^ +srv\/slow \d+% of 13 MB/.test(line))).toBe(true);
    // Nothing turns before it has begun: while the plan is made, only that is there.
    for (const look of seen.filter((l) => l.some((line) => /Fetching/.test(line))))
      expect(look.filter((line) => /Writing output|Compressing|nothing/.test(line))).toEqual([]);
    expect(cursor).toBe('1');

    const text = end.join('\n');
    expect(text).not.toMatch(spinner);
    expect(text).not.toMatch(/Fetching|Writing|Resolving|Unpacking|Assembling/);
    expect(end.filter((line) => line.startsWith('✔')).map((line) => line.split(/ {2,}/)[0])).toEqual([
      '✔ Resolved',
      '✔ Fetched',
      '✔ Unpacked',
      '✔ Assembled',
      '✔ Wrote layers',
    ]);
    expect(text).toMatch(/^✔ Fetched +15 files, 13 MB in \d+\.\d s, \d\S* \wB\/s$/m);
    expect(text).toMatch(/^PLATFORM +LAYER +SIZE$/m);
    expect(text).toMatch(/^linux\/amd64 +slow +13 MB +built in \d+\.\d s$/m);
    expect(text).toMatch(/^digest sha256:[0-9a-f]{64}$/m);
    expect(end.at(-1)).toBe('ENDED 0');
    expect(end.at(-2)).toMatch(/^localhost\/kina\/small:v1\.34\.2@sha256:/);
  });

  test('a rebuild prints little', async () => {
    const { end } = await watch('store', 100);
    expect(end.filter((line) => /^[✔✖]/.test(line))).toEqual([
      expect.stringMatching(/^✔ Resolved +slow for linux\/amd64: \d+ artifacts$/),
    ]);
    expect(end.join('\n')).toMatch(/slow +13 MB +cached$/m);
  });

  test('a narrow terminal: lines are cut, not wrapped into leftovers', async () => {
    pace = 600_000;
    const { seen, end } = await watch('narrow', 44);
    for (const look of seen) expect(look.filter((line) => /Fetching|Fetched/.test(line)).length).toBeLessThan(2);
    expect(end.join('\n')).not.toMatch(spinner);
    expect(end.filter((line) => line.startsWith('✔'))).toHaveLength(5);
  });

  test('Ctrl-C: a cross at the interrupted phase, the reason, a visible cursor', async () => {
    pace = 50_000;
    let pressed = false;
    const { end, cursor } = await watch('interrupted', 100, async (lines, keys) => {
      if (pressed || !lines.some((line) => line.includes('srv/slow'))) return;
      pressed = true;
      await keys('C-c');
    });
    expect(end.join('\n')).not.toMatch(spinner);
    expect(end.join('\n')).toMatch(/^✖ Fetching/m);
    expect(end).toContain('ERROR: interrupted by SIGINT');
    expect(end.at(-1)).toBe('ENDED 130');
    expect(cursor).toBe('1');
  });

  test('Ctrl-C twice: the cursor is visible again', async () => {
    pace = 50_000;
    let pressed = false;
    const { end, cursor } = await watch('impatient', 100, async (lines, keys) => {
      if (pressed || !lines.some((line) => line.includes('srv/slow'))) return;
      pressed = true;
      await keys('C-c', 'C-c', 'C-c');
    });
    expect(end.at(-1)).toBe('ENDED 130');
    expect(cursor).toBe('1');
  });

  test('in CI: plain lines, although there is a terminal', async () => {
    pace = undefined;
    const { seen, end } = await watch('ci', 100, undefined, { CI: 'true' });
    expect(seen.flat().join('\n')).not.toMatch(spinner);
    expect(end).toContainEqual(expect.stringMatching(/^Wrote layers slow \(linux\/amd64\), 13 MB in/));
    expect(end.at(-1)).toBe('ENDED 0');
  });
});
