/**
 * One node, as the actions see it: a place where commands run and files lie. Everything goes through the provider's `exec`,
 * because that is the one thing every runtime can do. A failure carries the command, the node and what it printed.
 */
import type { Readable } from 'node:stream';
import { KinaError } from '../host/errors.ts';
import { lastLines } from '../host/process.ts';
import type { ExecOptions, ExecResult, NodeStatus, Provider } from '../provider/provider.ts';

export interface RunOptions extends ExecOptions {
  /** Lines of output that go into the error; 20. */
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

  /** As it was when the cluster was last looked at. */
  get status(): NodeStatus {
    return this.#status;
  }

  /** Runs a program; a non-zero exit code is a result. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return this.provider.exec(this.name, argv, options);
  }

  /** Runs a program that has to succeed; its standard output. Throws `cluster`. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const result = await this.exec(argv, options);
    if (result.code !== 0) throw this.failure(argv, result, options.lines);
    return result.stdout;
  }

  /** The same for a line of shell; `args` are `$1`, `$2`, … */
  shell(script: string, args: readonly string[] = [], options?: RunOptions): Promise<string> {
    return this.run(['sh', '-c', script, 'sh', ...args], options);
  }

  failure(argv: readonly string[], result: ExecResult, lines = 20): KinaError {
    const command = argv[0] === 'sh' && argv[1] === '-c' ? argv[2]! : argv.join(' ');
    const how = result.timedOut ? 'did not end in time' : `ended with ${result.code}`;
    const shown = command.includes('\n') ? `${command.trim().split('\n')[0]} …` : command;
    return new KinaError('cluster', `on node ${this.name}, \`${shown}\` ${how}`, {
      details: lastLines(`${result.stdout}\n${result.stderr}`, lines),
    });
  }

  readFile(path: string): Promise<string> {
    return this.run(['cat', path]);
  }

  /** Writes a file whole or not at all, with its folder. */
  async writeFile(path: string, content: string | Uint8Array | Readable, mode = '0644'): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"';
    await this.shell(script, [path, mode], { input: content });
  }

  /** kubectl with the administrator's rights, on a control plane. */
  kubectl(args: readonly string[], options?: RunOptions): Promise<string> {
    return this.run(kubectl(args), options);
  }
}

/** The command line of kubectl on a control plane. */
export function kubectl(args: readonly string[]): string[] {
  return ['kubectl', '--kubeconfig=/etc/kubernetes/admin.conf', ...args];
}
