/**
 * The `debian` recipe: everything from Debian's archive. Old stable, stable, and stable with the runtime of the newest
 * suite, whose containerd 2 reads version 3 of its configuration and drives cgroups through systemd, as nodes of current
 * Kubernetes do. (The newest suite as a whole has a systemd that does not start on hosts with cgroup v1.)
 */
import { afterAll, beforeAll, expect } from 'vitest';
import { type ContainerNode, type Engine, engineRequirements, startEngine } from '../support/engine.ts';
import { buildDebian } from '../support/images.ts';
import { ask, bootState } from '../support/node.ts';
import { describeWith, noDebianMirror, testUnless } from '../support/requirements.ts';

const offline = await noDebianMirror();

interface Suite {
  readonly name: string;
  /** Major version of the suite's systemd: proof that the suite is what was asked for. */
  readonly systemd: RegExp;
  readonly containerd: RegExp;
  /** Version of containerd's configuration. */
  readonly config: 2 | 3;
  /** Newer suite that the runtime comes from. */
  readonly runtime?: string;
}

const suites: readonly Suite[] = [
  { name: 'bookworm', systemd: /^systemd 252 /, containerd: / 1\.6\./, config: 2 },
  { name: 'trixie', systemd: /^systemd 257 /, containerd: / 1\.7\./, config: 2 },
  { name: 'trixie', runtime: 'forky', systemd: /^systemd 257 /, containerd: / v?2\./, config: 3 },
];

for (const engineName of ['podman', 'docker'] as const)
  for (const suite of suites) {
    const needs = ['full tier', ...engineRequirements[engineName]];
    const from = suite.runtime ? ` with the runtime of ${suite.runtime}` : '';
    describeWith(`the debian recipe on ${suite.name}${from} under ${engineName}`, needs, () => {
      let engine: Engine | undefined;
      let node: ContainerNode;

      beforeAll(async () => {
        if (offline) return;
        const { archive } = await buildDebian(suite.name, suite.runtime);
        engine = await startEngine(engineName);
        node = await engine.runNode(await engine.load(archive));
      });
      afterAll(() => engine?.close());

      testUnless(offline, 'boots without a failed unit', async () => {
        expect(await bootState(node, 180)).toBe('running');
      });

      testUnless(offline, 'has the parts of its suite, and containerd answers', async () => {
        expect(await ask(node, 'systemctl --version')).toMatch(suite.systemd);
        expect(await ask(node, 'containerd --version')).toMatch(suite.containerd);
        expect(await ask(node, 'ctr version')).toContain('Server:');
        await ask(node, 'runc --version && kubectl version --client');
      });

      testUnless(offline, 'containerd reads its configuration as it is meant', async () => {
        const config = await ask(node, 'containerd config dump');
        expect(config).toMatch(new RegExp(`^version = ${suite.config}$`, 'm'));
        expect(config).toMatch(/SystemdCgroup = true/);
        expect(config).toMatch(/discard_unpacked_layers = false/);
        const plugins = await ask(node, 'ctr plugins ls');
        expect(plugins).toMatch(/\scri\s.*\sok\b/);
      });
    });
  }
