/** The parts of `kina image test` that need no node: what goes into the machine, and what comes out as a report. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { junitReport } from '../../../src/ops/boot/junit.ts';
import { kubeadmConfig } from '../../../src/ops/boot/kubeadm.ts';
import type { TestReport } from '../../../src/ops/boot/test-image.ts';
import { cpio, cpioDirectory, cpioFile, cpioLink } from '../../../src/ops/boot/vm/cpio.ts';
import { agentScript, initScript, powerOffScript, startScript } from '../../../src/ops/boot/vm/guest.ts';
import { missing, testUnless } from '../../support/requirements.ts';

const folder = mkdtempSync(join(tmpdir(), 'kina-boot-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('what goes into the machine', () => {
  testUnless(missing(['bsdtar']), 'the first root is an archive that others read', () => {
    const path = join(folder, 'root.cpio');
    writeFileSync(
      path,
      cpio([cpioDirectory('bin'), cpioFile('bin/a', 'four', true), cpioFile('odd', 'x'), cpioLink('bin/sh', 'a')]),
    );
    const listed = execFileSync('bsdtar', ['-tvf', path], { encoding: 'utf8' });
    expect(listed).toMatch(/^drwxr-xr-x .* bin$/m);
    expect(listed).toMatch(/^-rwxr-xr-x +\d+ 0 +0 +4 .* bin\/a$/m);
    expect(listed).toMatch(/^lrwxrwxrwx .* bin\/sh -> a$/m);
    expect(execFileSync('bsdtar', ['-xOf', path, 'odd'], { encoding: 'utf8' })).toBe('x');
  });

  testUnless(missing(['shellcheck']), 'its scripts are sound', () => {
    for (const [name, script] of Object.entries({ initScript, agentScript, powerOffScript })) {
      const path = join(folder, name);
      // an interpreter that shellcheck does not know; busybox's sh is a dash to it
      writeFileSync(path, script.replace(/^#!.*/, '#!/bin/dash'));
      execFileSync('shellcheck', ['--exclude=SC1091', path], { stdio: ['ignore', 'inherit', 'inherit'] });
    }
  });

  test('any environment and argument arrives unchanged; invalid variables are left out', () => {
    const script = startScript(['/bin/printf', '%s|', `it's`, '$HOME; false'], ["A=$(x) 'y'\n", 'no-name=1', 'B=']);
    const run = script.replace('exec /bin/switch_root /root', 'echo "[$A][$B]"; exec');
    expect(execFileSync('sh', ['-euc', run], { encoding: 'utf8' })).toBe("[$(x) 'y'\n][]\nit's|$HOME; false|");
    expect(script).not.toContain('no-name');
  });
});

describe('the configuration for kubeadm', () => {
  // v1beta2 goes with 1.30, v1beta3 came with 1.22, v1beta4 with 1.31 (kubeadm's API packages say so)
  test.each([
    ['v1.20.2', 'v1beta2', 'cgroupfs', 'timeoutForControlPlane'],
    ['v1.22.0', 'v1beta3', 'cgroupfs', 'timeoutForControlPlane'],
    ['v1.24.0', 'v1beta3', 'systemd', 'timeoutForControlPlane'],
    ['v1.34.2', 'v1beta4', 'systemd', 'controlPlaneComponentHealthCheck'],
  ])('%s reads %s', (version, api, driver, limit) => {
    const text = kubeadmConfig(version, 77);
    const [cluster, , kubelet] = text.split('\n---\n').map((document) => JSON.parse(document));
    expect(cluster).toMatchObject({ apiVersion: `kubeadm.k8s.io/${api}`, kubernetesVersion: version });
    expect(kubelet.cgroupDriver).toBe(driver);
    expect(text).toContain(`"${limit}":"77s"`);
  });
});

describe('the JUnit report', () => {
  const report: TestReport = {
    platform: 'linux/arm64',
    digest: `sha256:${'0'.repeat(64)}`,
    target: 'podman <4>',
    passed: false,
    results: [
      { id: 'a', title: 'boots', ms: 1500, status: 'passed', detail: 'systemd 257' },
      {
        id: 'b',
        title: 'answers',
        ms: 20,
        status: 'failed',
        reason: 'says "no"',
        output: 'a < b && \u001b[31mred\u0000',
      },
      { id: 'c', title: 'works', ms: 0, status: 'skipped', reason: 'depends on: answers' },
    ],
    log: ['last words'],
  };

  test('has every result, and nothing that XML cannot hold', () => {
    const xml = junitReport('a&b', report);
    expect(xml).toContain('tests="3" failures="1" skipped="1" errors="0" time="1.520"');
    expect(xml).toContain('<failure message="says &quot;no&quot;">a &lt; b &amp;&amp; [31mred</failure>');
    expect(xml).toContain('<skipped message="depends on: answers"/>');
    expect(xml).toContain('name="kina image test a&amp;b linux/arm64"');
  });

  testUnless(missing(['python3']), 'is XML to an independent parser', () => {
    const parse =
      'import sys, xml.etree.ElementTree as e; print([c.tag for c in e.fromstring(sys.stdin.read()).iter()])';
    const tags = execFileSync('python3', ['-c', parse], { input: junitReport('a&b', report), encoding: 'utf8' });
    expect(tags.match(/'testcase'/g)).toHaveLength(3);
    expect(tags).toContain("'system-out'");
  });
});
