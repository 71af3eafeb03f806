/** podman, which runs what would be a virtual machine on a Mac. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function podman(args: readonly string[], input?: Readable): Promise<Answer> {
  return new Promise((done, failed) => {
    const child = spawn('podman', args, { stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
    const said = { stdout: '', stderr: '' };
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      said.stdout += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said.stderr += text;
    });
    child.once('error', failed);
    child.once('close', (code) => done({ code: code ?? 137, ...said }));
    if (input && child.stdin) {
      child.stdin.on('error', () => {});
      input.pipe(child.stdin);
    }
  });
}

/** The same where failing is a failure of the stand-in. */
export async function mustPodman(args: readonly string[], input?: Readable): Promise<string> {
  const { code, stdout, stderr } = await podman(args, input);
  if (code !== 0) throw new Error(`podman ${args.join(' ')}\nended with ${code}\n${stderr}`);
  return stdout;
}
