/**
 * Kubernetes from its own source. The tree is small and its Makefile copies files that are ready, but it is asked as a real
 * one is: `make` runs, git is asked for the version, images are made and read back. A real tree takes minutes to compile.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { smallRecipe } from '../../support/kina.ts';
import { describeWith, pathOf } from '../../support/requirements.ts';
import { fakeElf, startUpstream, type Upstream } from '../../support/upstream.ts';
import { importImages } from '../../unit/oci/fixture.ts';

const names = [
  'kubeadm',
  'kubelet',
  'kubectl',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
];
const version = 'v1.34.2';

const makefile = `all:
	@echo '+++ [1121 20:50:01] Building go targets for $(KUBE_BUILD_PLATFORMS):'
	@cat broken >&2 2>/dev/null && exit 3 || true
	@mkdir -p _output/local/bin/$(KUBE_BUILD_PLATFORMS)
	@for t in $(WHAT); do cp elf/$(KUBE_BUILD_PLATFORMS)/$\${t##*/} _output/local/bin/$(KUBE_BUILD_PLATFORMS)/; done
	@echo "$(KUBE_BUILD_PLATFORMS) $(WHAT) static:$$KUBE_STATIC_OVERRIDES date:$$SOURCE_DATE_EPOCH" >> calls
	@cat $$KUBE_GIT_VERSION_FILE > stamp
`;

describeWith('a source tree', ['make', 'bash', 'git'], () => {
  let folder: string;
  let upstream: Upstream;
  let workshop: Workshop;
  let count = 0;
  const { PATH } = process.env;

  /** A fresh tree; `files` beside what all have. */
  const tree = (files: Readonly<Record<string, string | Buffer>> = {}): string => {
    const root = join(folder, `tree-${count++}`, 'kubernetes');
    const all: Record<string, string | Buffer> = {
      Makefile: makefile,
      'go.mod': 'module k8s.io/kubernetes\n\ngo 1.24.0\n',
      'build/common.sh': 'readonly __default_distroless_iptables_version=v0.8.6\n',
      'hack/print-workspace-status.sh': 'echo "gitVersion $(git describe --tags 2>/dev/null)"\necho gitCommit abc123\n',
      ...Object.fromEntries(names.map((name) => [`cmd/${name}/main.go`, 'package main\n'])),
      ...Object.fromEntries(
        ['amd64', 'arm64'].flatMap((a) => names.map((name) => [`elf/linux/${a}/${name}`, fakeElf(a, `${name} own`)])),
      ),
      ...files,
    };
    for (const [path, data] of Object.entries(all)) {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      writeFileSync(join(root, path), data);
    }
    return root;
  };
  const tagged = (root: string, tag: string): string => {
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', root, '-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args]);
    git('init', '-q');
    git('commit', '-q', '--allow-empty', '-m', 'first');
    git('tag', tag);
    return root;
  };
  const read = (root: string, name: string): string => readFileSync(join(root, name), 'utf8');
  const build = (source: string, request: Parameters<Workshop['build']>[0] = {}) =>
    workshop.build({ recipe: smallRecipe, source, ...request });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kina-source-'));
    // Looked for before make is started; this Makefile does not call it.
    mkdirSync(join(folder, 'bin'));
    writeFileSync(join(folder, 'bin/go'), '#!/bin/sh\necho go version go1.24.0 linux/amd64\n', { mode: 0o755 });
    upstream = await startUpstream();
    workshop = await openWorkshop({ mirror: [upstream.url] });
  });
  beforeEach(() => {
    process.env.PATH = `${join(folder, 'bin')}${delimiter}${PATH}`;
    workshop.warnings.length = 0;
  });
  afterAll(async () => {
    process.env.PATH = PATH;
    await workshop?.close();
    await upstream?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test('is compiled once per platform, and gives binaries and images', async () => {
    const root = tagged(tree(), version);
    const built = await build(root, { platforms: ['linux/amd64', 'linux/arm64'] });
    for (const architecture of ['amd64', 'arm64']) {
      const files = await workshop.files(built, `linux/${architecture}`);
      expect(files.get('usr/bin/kubelet')!.data).toEqual(fakeElf(architecture, 'kubelet own'));
      expect(files.get('kind/version')!.data.toString()).toBe(version);
      const archive = join(folder, `images-${architecture}.tar`);
      writeFileSync(archive, files.get('kind/images/kubernetes.tar')!.data);
      const images = await importImages(workshop.tools.store, archive);
      expect(Object.fromEntries(images.map((i) => [i.names[0], i.layers.length]))).toEqual({
        [`registry.k8s.io/kube-apiserver:${version}`]: 1,
        // On the base that the tree names.
        [`registry.k8s.io/kube-proxy:${version}`]: 2,
      });
    }
    expect(upstream.requests).toContain('/registry.k8s.io/v2/build-image/distroless-iptables/manifests/v0.8.6');
    // All steps' wishes in one go; no cgo for any of them.
    const what = names.filter((n) => n !== 'kube-controller-manager' && n !== 'kube-scheduler');
    const calls = read(root, 'calls').trim().split('\n');
    expect(calls).toHaveLength(2);
    for (const [i, architecture] of ['amd64', 'arm64'].entries())
      expect(calls[i]).toBe(
        `linux/${architecture} ${what.map((n) => `cmd/${n}`).join(' ')} static:${what.join(' ')} date:1577836800`,
      );
    expect(read(root, 'stamp')).toBe(
      "KUBE_GIT_COMMIT='abc123'\nKUBE_GIT_TREE_STATE='archive'\nKUBE_GIT_VERSION='v1.34.2'\nKUBE_GIT_MAJOR='1'\nKUBE_GIT_MINOR='34'\n",
    );
    // The same from another place: neither paths nor the order of steps are in the digest.
    const again = await build(tagged(tree(), version), { platforms: ['linux/amd64', 'linux/arm64'] });
    expect(again.index.digest).toBe(built.index.digest);
  });

  test('takes its version from git, from --set, and not from a repository around it', async () => {
    const between = tagged(tree(), 'v1.35.0-alpha.0.391+575c4925be8c39');
    const built = await build(between);
    expect(built.resolved.plan.kubernetes).toBe('v1.35.0-alpha.0.391+575c4925be8c39');
    expect(read(between, 'stamp')).toContain("KUBE_GIT_MINOR='35+'");
    const exported = tree();
    tagged(dirname(exported), 'v9.9.9');
    await expect(build(exported)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('does not state its Kubernetes version'),
      hint: expect.stringContaining('--set kubernetes='),
    });
    const { resolved } = await build(exported, { set: { kubernetes: version } });
    expect(resolved.plan.kubernetes).toBe(version);
    expect(read(exported, 'stamp')).toContain(`KUBE_GIT_VERSION='${version}'`);
  });

  test("uses the image archives of the tree's own release build, when they are of this version", async () => {
    const root = tagged(tree(), version);
    const release = async (tag: string) => {
      const url = `${upstream.url}/dl.k8s.io/${tag}/bin/linux/amd64/kube-proxy.tar`;
      mkdirSync(join(root, '_output/release-images/amd64'), { recursive: true });
      const archive = Buffer.from(await (await fetch(url)).arrayBuffer());
      writeFileSync(join(root, '_output/release-images/amd64/kube-proxy.tar'), archive);
    };
    await release(version);
    await build(root);
    expect(read(root, 'calls')).not.toContain('kube-proxy');
    expect(workshop.warnings).toEqual([]);
    await release('v1.34.1');
    await build(root);
    expect(read(root, 'calls')).toContain('cmd/kube-proxy');
    expect(workshop.warnings.join()).toMatch(
      /kube-proxy\.tar is ignored: it contains .*v1\.34\.1, want version v1\.34\.2/,
    );
  });

  test('says what is wrong with it', async () => {
    const broken = tagged(tree({ broken: 'cmd/kubelet/main.go:7:2: undefined: os.Exti\n' }), version);
    await expect(build(broken)).rejects.toMatchObject({
      code: 'compile',
      details: expect.arrayContaining([expect.stringContaining('undefined: os.Exti')]),
      hint: expect.stringContaining('Go 1.24.0 or newer'),
    });
    const foreign = tagged(tree({ 'elf/linux/amd64/kubelet': fakeElf('arm64', 'kubelet') }), version);
    await expect(build(foreign)).rejects.toMatchObject({
      code: 'platform',
      message: expect.stringContaining('asked for kubelet for linux/amd64 and made one for aarch64'),
    });
    const baseless = tagged(tree({ 'build/common.sh': '' }), version);
    await expect(build(baseless)).rejects.toMatchObject({
      message: expect.stringContaining('no base for the image of kube-proxy'),
      hint: expect.stringContaining('make quick-release-images'),
    });
    await expect(build(folder, { sourceType: 'source' })).rejects.toMatchObject({ code: 'usage' });
    // Its binaries are not looked for in it by mistake, only by force.
    await expect(build(broken, { sourceType: 'directory', set: { kubernetes: version } })).rejects.toMatchObject({
      message: expect.stringMatching(/has no kube(adm|let|ctl)/),
    });
    const tools = join(folder, 'no-go');
    mkdirSync(tools);
    for (const tool of ['make', 'bash', 'git']) execFileSync('ln', ['-s', pathOf(tool) as string, join(tools, tool)]);
    process.env.PATH = tools;
    await expect(build(tagged(tree({ '.go-version': '1.24.6\n' }), version))).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('needs go, not found'),
      hint: expect.stringContaining('Go 1.24.6'),
    });
    // Old trees copy what they compiled with rsync, and say so nowhere but in their scripts.
    const copies = { 'hack/lib/golang.sh': 'find . -exec \\\n  rsync -pc {} out \\;\n' };
    await expect(build(tagged(tree(copies), version))).rejects.toMatchObject({
      message: expect.stringContaining('needs go and rsync, not found'),
    });
  });
});
