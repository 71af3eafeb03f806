/** Whole processes, timed from outside: wall and processor seconds, peak memory of the largest one (GNU time). */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface Run {
  readonly wall: number;
  readonly cpu: number;
  /** MiB. */
  readonly memory: number;
}
export interface Step {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}
/** One side of a comparison: what is timed, and what is put back before each run. */
export interface Side {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly prepare?: () => Promise<void> | void;
}

const TIME = '/usr/bin/time';
export const canMeasure = existsSync(TIME);

async function once({ argv, env, cwd }: Step): Promise<Run> {
  const started = performance.now();
  const child = spawn(TIME, ['-f', '@@ %U %S %M', ...argv], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (part) => {
    stderr = (stderr + part).slice(-8000);
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (c) => resolve(c ?? 1));
  });
  const wall = (performance.now() - started) / 1000;
  const figures = /@@ ([\d.]+) ([\d.]+) (\d+)/.exec(stderr);
  if (code !== 0 || !figures) throw new Error(`${argv.join(' ')} ended with ${code}\n${stderr}`);
  return { wall, cpu: Number(figures[1]) + Number(figures[2]), memory: Number(figures[3]) / 1024 };
}

/** The steps of one side, one after the other, as one figure. */
export async function time(side: Side): Promise<Run> {
  await side.prepare?.();
  const runs: Run[] = [];
  for (const step of side.steps) runs.push(await once(step));
  return {
    wall: runs.reduce((sum, r) => sum + r.wall, 0),
    cpu: runs.reduce((sum, r) => sum + r.cpu, 0),
    memory: Math.max(...runs.map((r) => r.memory)),
  };
}

/** Both sides in turn, so that a machine whose speed drifts is unfair to neither. */
export async function inTurn(sides: readonly Side[], count: number): Promise<Run[][]> {
  const all: Run[][] = sides.map(() => []);
  for (let i = 0; i < count; i++) for (const [s, side] of sides.entries()) all[s]!.push(await time(side));
  return all;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
