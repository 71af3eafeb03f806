/**
 * What a test needs of the machine that it runs on. A test that cannot run says why in its title, and skip-reporter.ts lists
 * the reasons at the end: a suite that is green because nothing ran is worse than a red one. Nothing is ever installed.
 *
 *     describeWith('boots', ['podman', 'root'], () => { … })
 */
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test } from 'vitest';
import { projectRoot } from './command.ts';
import { noReleaseFiles } from './mirror.ts';

/** Programs by name (`podman`, `qemu-system-aarch64`, …), and what the table below knows. */
export type Requirement = string;

const special: Readonly<Record<string, () => string | undefined>> = {
  root: () => (process.getuid?.() === 0 ? undefined : 'the tests do not run as root'),
  'release files': noReleaseFiles,
  'full tier': () => (process.env.KINA_E2E === 'full' ? undefined : 'KINA_E2E=full was not asked for'),
};

/** Sbin too: users' paths often lack it, and mke2fs and dockerd live there. */
export function pathOf(program: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}

/** The first reason why the machine cannot do it; undefined when it can. */
export function missing(requirements: readonly Requirement[]): string | undefined {
  for (const name of requirements) {
    const known = special[name];
    const reason = known ? known() : pathOf(name) ? undefined : `${name} is not installed`;
    if (reason) return reason;
  }
  return undefined;
}

/** `describe`, or one that is skipped for the first of the requirements that is missing. */
export function describeWith(title: string, requirements: readonly Requirement[], body: () => void): void {
  describeUnless(missing(requirements), title, body);
}

/** The same for a reason that is known already. */
export function describeUnless(reason: string | undefined, title: string, body: () => void): void {
  if (reason === undefined) describe(title, body);
  else describe.skip(`${title} (skipped: ${reason})`, body);
}

/** `test`, or one that is skipped for this reason. */
export function testUnless(reason: string | undefined, title: string, body: () => void | Promise<void>): void {
  if (reason === undefined) test(title, body);
  else test.skip(`${title} (skipped: ${reason})`, body);
}

let reachable: Promise<string | undefined> | undefined;

/** Why Debian packages cannot be had here; for tests that build on them. Asks the mirror once. */
export function noDebianMirror(): Promise<string | undefined> {
  reachable ??= askDebianMirror();
  return reachable;
}

async function askDebianMirror(): Promise<string | undefined> {
  const { debianMirror } = await import('./cache.ts');
  return fetch(`${debianMirror}/dists/trixie/InRelease`, { method: 'HEAD', signal: AbortSignal.timeout(10_000) })
    .then((response) => (response.ok ? undefined : `${debianMirror} answers with ${response.status}`))
    .catch((error) => `${debianMirror} cannot be reached (${error.cause?.code ?? error.name})`);
}

/**
 * Nested machines often lack CAP_SYS_RESOURCE (bit 24): limits cannot be raised, and container engines that try to fail
 * with "error setting rlimit type 7: operation not permitted". Then tests start engines with limits that fit.
 */
export function isConstrainedHost(): boolean {
  if (process.platform !== 'linux') return false;
  const status = readFileSync('/proc/self/status', 'utf8');
  const bounding = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return (bounding & (1n << 24n)) === 0n;
}

/** A helper for constrained hosts: `docker-runc`. */
export function hostHelper(name: string): string {
  return join(projectRoot, 'test/support/hosts', name);
}

/** Limits of containers on a constrained host, as `--ulimit` takes them: enough for a node, never above this process's. */
export function containerLimits(): { readonly nofile: string; readonly nproc: string } {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const atMost = (title: string, wanted: number): string => {
    const hard = new RegExp(`^${title}\\s+\\S+\\s+(\\d+)`, 'm').exec(limits)?.[1];
    const limit = hard === undefined ? wanted : Math.min(wanted, Number(hard));
    return `${limit}:${limit}`;
  };
  return { nofile: atMost('Max open files', 20_000), nproc: atMost('Max processes', 32_768) };
}

let podmanConfiguration: string | undefined;

/**
 * Variables for podman on this host. On a constrained one, its configuration has limits that can be set, and cgroupfs,
 * because cgroups are often a mix of both versions there.
 */
export function podmanEnvironment(): Record<string, string> {
  if (!isConstrainedHost()) return {};
  if (podmanConfiguration === undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'kina-podman-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    podmanConfiguration = join(folder, 'containers.conf');
    const { nofile, nproc } = containerLimits();
    writeFileSync(
      podmanConfiguration,
      `[containers]
default_ulimits = ["nofile=${nofile}", "nproc=${nproc}"]

[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
`,
    );
  }
  return { CONTAINERS_CONF: podmanConfiguration };
}
