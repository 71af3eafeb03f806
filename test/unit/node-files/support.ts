/**
 * Runs functions of the node's shell on a directory that stands for the node's root, with the shell a node has (dash).
 * Programs that would touch the machine (mount, iptables, kubeadm …) are little scripts in a folder of their own, which
 * record how they were called; sed, awk, grep and the rest are real.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { missing } from '../../support/requirements.ts';

export const recipes = resolve(import.meta.dirname, '../../../recipes');
export const nodeFiles = join(recipes, 'files/node');
const library = join(nodeFiles, 'usr/local/lib/kina');

/** Why this machine cannot run the node's shell; undefined when it can. */
export const noShell: string | undefined =
  process.platform === 'linux'
    ? missing(['dash'])
    : `the node's shell needs Linux's tools, this is ${process.platform}`;

const lines = (text: string): string[] => text.split('\n').filter((line) => line);

const dangerous = ['mount', 'umount', 'iptables', 'update-alternatives', 'ethtool', 'kubeadm', 'systemctl'];

interface Ran {
  readonly code: number;
  readonly stdout: string;
  /** The node's messages, line by line. */
  readonly messages: readonly string[];
  /** How the stand-in programs were called, in order. */
  readonly calls: readonly string[];
}

export class NodeRoot {
  readonly path = mkdtempSync(join(tmpdir(), 'kina-node-'));
  readonly #bin = join(this.path, '.bin');

  constructor(files: Readonly<Record<string, string>> = {}) {
    mkdirSync(this.#bin);
    for (const [path, content] of Object.entries(files)) this.write(path, content);
    this.program('hostname', 'echo node1');
    // Never the machine's own.
    for (const name of dangerous) this.program(name, 'exit 1');
  }

  write(path: string, content: string): void {
    mkdirSync(dirname(join(this.path, path)), { recursive: true });
    writeFileSync(join(this.path, path), content);
  }

  read(path: string): string {
    return readFileSync(join(this.path, path), 'utf8');
  }

  has(path: string): boolean {
    return existsSync(join(this.path, path));
  }

  /** Stands in for a program: shell that finds only the machine's own programs, after its call was recorded. */
  program(name: string, script = ''): void {
    const record = `echo "${name} $*" >>"${this.path}/.calls"`;
    writeFileSync(join(this.#bin, name), `#!/bin/sh\nPATH=/usr/bin:/bin\n${record}\n${script}\n`, { mode: 0o755 });
  }

  /** Runs shell with all of the boot's functions defined. */
  run(script: string, env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const parts = readdirSync(library).filter((name) => name.endsWith('.sh'));
    const source = parts.map((name) => `. ${library}/${name}`).join('\n');
    return this.exec(['dash', '-c', `${source}\n${script}`], env);
  }

  /** Runs a program of the node in this root. */
  exec(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    rmSync(join(this.path, '.calls'), { force: true });
    const [file = '', ...args] = argv;
    const PATH = `${this.#bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
    return new Promise((done) => {
      const all = { PATH, KINA_ROOT: this.path, KINA_LIB: library, ...env };
      execFile(file, args, { env: all, timeout: 15_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        const text = this.has('.calls') ? this.read('.calls').replaceAll(this.path, '') : '';
        const code = error ? Number(error.code ?? -1) : 0;
        done({ code, stdout, messages: lines(stderr), calls: lines(text).map((call) => call.trimEnd()) });
      });
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
