/**
 * Runs commands in a node and transfers files. Everything goes through the provider's `exec`, because every runtime has
 * it. Errors contain the command, the node and the output.
 */
import type { Readable } from 'node:stream';
import { KinaError } from '../host/errors.ts';
import { lastLines } from '../host/process.ts';
import type { ExecOptions, ExecResult, NodeStatus, Provider } from '../provider/provider.ts';

export interface RunOptions extends ExecOptions {
  /** Number of output lines in the error; default 20. */
  readonly lines?: number;
}

export class Node {
  readonly name: string;
  readonly role: string;
  readonly provider: Provider;
  #status: NodeStatus;

  constructor(provider: Provider, status: NodeStatus) {
    this.provider = provider;
    this.name = status.name;
    this.role = status.role;
    this.#status = status;
  }

  /** The status when the cluster was opened. */
  get status(): NodeStatus {
    return this.#status;
  }

  /** Runs a program. A non-zero exit code is not an error. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return this.provider.exec(this.name, argv, options);
  }

  /** Runs a program that must succeed. Returns its standard output. Throws `cluster`. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const result = await this.exec(argv, options);
    if (result.code !== 0) throw this.failure(argv, result, options.lines);
    return result.stdout;
  }

  /** Like `run`, for a shell script; `args` are `$1`, `$2`, … */
  shell(script: string, args: readonly string[] = [], options?: RunOptions): Promise<string> {
    return this.run(['sh', '-c', script, 'sh', ...args], options);
  }

  failure(argv: readonly string[], result: ExecResult, lines = 20): KinaError {
    const command = argv[0] === 'sh' && argv[1] === '-c' ? argv[2]! : argv.join(' ');
    const how = result.timedOut ? 'timed out' : `failed with exit code ${result.code}`;
    const shown = command.includes('\n') ? `${command.trim().split('\n')[0]} …` : command;
    return new KinaError('cluster', `on node ${this.name}, \`${shown}\` ${how}`, {
      details: lastLines(`${result.stdout}\n${result.stderr}`, lines),
    });
  }

  readFile(path: string): Promise<string> {
    return this.run(['cat', path]);
  }

  /** Writes a file atomically, and creates its folder. */
  async writeFile(path: string, content: string | Uint8Array | Readable, mode = '0644'): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"';
    await this.shell(script, [path, mode], { input: content });
  }

  /** Runs kubectl as administrator on a control plane. */
  kubectl(args: readonly string[], options?: RunOptions): Promise<string> {
    return this.run(kubectl(args), options);
  }
}

/** The command line of kubectl as administrator on a control plane. */
export function kubectl(args: readonly string[]): string[] {
  return ['kubectl', '--kubeconfig=/etc/kubernetes/admin.conf', ...args];
}
