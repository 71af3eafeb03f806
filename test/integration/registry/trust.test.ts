/** Documents about images: what is in them, judged by other people's validators, and where other people's clients find them. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expressionOf } from '../../../src/ops/trust/licences.ts';
import { check, projectRoot, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench } from '../../support/kina.ts';
import { startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless, describeWith, missing } from '../../support/requirements.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const small = 'localhost/kina/small:v1.34.2';
let bench: Bench;
let pushed: string;
interface Index {
  manifests: { digest: string; artifactType?: string; platform?: { architecture: string } }[];
}
interface Artifact {
  artifactType: string;
  subject: { digest: string };
  layers: { digest: string; mediaType: string }[];
}
const get = async <T>(path: string): Promise<T> => {
  const accept = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';
  const answer = await fetch(`http://${host}/v2/trust/node/${path}`, { headers: { accept } });
  expect(answer.status).toBe(200);
  return (await answer.json()) as T;
};

beforeAll(async () => {
  bench = await openBench();
  digestIn(await bench.build(['--platform', 'linux/amd64,linux/arm64']));
  if (registry.skip !== undefined) return;
  const result = await bench.kina(['push', small, `${host}/trust/node:v1`, '--sbom', '--provenance']);
  pushed = digestIn(result);
});
afterAll(async () => {
  await bench?.close();
  if (registry.skip === undefined) await registry.stop();
});

const sbom = (format: string) => bench.kina(['image', 'sbom', small, '--platform', 'linux/arm64', '--format', format]);

test('an SPDX document names artifacts with address and digest, and the images to preload', async () => {
  const document = JSON.parse((await sbom('spdx')).stdout);
  const byName = (name: string) => document.packages.find((one: { name: string }) => one.name === name);
  expect(byName('containerd')).toMatchObject({
    downloadLocation: expect.stringMatching(/^https:\/\/github\.com\/containerd\/.*linux-arm64\.tar\.gz$/),
    checksums: [{ algorithm: 'SHA256', checksumValue: expect.stringMatching(/^[0-9a-f]{64}$/) }],
    primaryPackagePurpose: 'APPLICATION',
  });
  expect(byName('registry.k8s.io/pause')).toMatchObject({ primaryPackagePurpose: 'CONTAINER' });
  expect(JSON.stringify(document)).not.toContain(bench.upstream.url);
  expect((await sbom('spdx')).stdout).toBe(JSON.stringify(document, null, 2).concat('\n'));
  expect((await bench.kina(['image', 'sbom', small])).stderr).toContain('several platforms');
});

test('names of licences: certain ones are SPDX, no other is guessed', () => {
  expect(expressionOf(['GPL-2+', 'Expat', 'BSD-3-clause'])?.text).toBe('BSD-3-Clause AND GPL-2.0-or-later AND MIT');
  expect(expressionOf(['GPL-1+ or Artistic-2.0'])?.text).toBe('(GPL-1.0-or-later OR Artistic-2.0)');
  expect(expressionOf(['BSD-3-Clause and zlib'])?.text).toBe('BSD-3-Clause AND Zlib');
  expect(expressionOf(['Expat and ISC or GPL-2'])?.text).toBe('LicenseRef-debian-Expat-and-ISC-or-GPL-2');
  const odd = expressionOf(['public-domain, mostly', 'GPL-2+ with OpenSSL exception']);
  expect(odd?.text).toBe(
    'LicenseRef-debian-GPL-2-plus-with-OpenSSL-exception AND LicenseRef-debian-public-domain-mostly',
  );
  expect([...odd!.references.values()]).toContain('public-domain, mostly');
  expect(expressionOf([])).toBeUndefined();
});

describeWith('the SPDX workgroup', ['pyspdxtools'], () => {
  test('finds nothing wrong', async () => {
    const file = join(bench.folder, 'sbom.spdx.json');
    await writeFile(file, (await sbom('spdx')).stdout);
    expect(await run(['pyspdxtools', '--infile', file])).toMatchObject({ code: 0 });
  });
});

const noCyclone =
  missing(['python3']) ??
  ((await run(['python3', '-c', 'import cyclonedx'])).code ? 'no python3-cyclonedx-lib' : undefined);
describeUnless(noCyclone, "CycloneDX's own library", () => {
  test('reads every component', async () => {
    const { stdout } = await sbom('cyclonedx');
    const script =
      'import json,sys; from cyclonedx.model.bom import Bom; print(len(Bom.from_json(json.load(sys.stdin)).components))';
    const read = await run(['python3', '-c', script], { input: stdout });
    expect(read.stderr).toBe('');
    expect(Number(read.stdout)).toBe(JSON.parse(stdout).components.length);
  });
});

/** Debian's golang-github-in-toto-attestation-dev puts it below /usr/share/gocode; GOPATH says where else it is. */
const gopath = process.env.GOPATH ?? '/usr/share/gocode';
const library = 'github.com/in-toto/attestation/go/predicates/provenance/v1';
const noInToto =
  registry.skip ??
  missing(['go']) ??
  (existsSync(join(gopath, 'src', library)) ? undefined : `no golang-github-in-toto-attestation-dev in ${gopath}`);
describeUnless(noInToto, "in-toto's own library", () => {
  test('finds nothing wrong with the provenance, and would', async () => {
    const env = { GO111MODULE: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0', GOPATH: gopath };
    const program = join(bench.folder, 'validate');
    const source = join(projectRoot, 'test/support/in-toto/validate.go');
    await check(['go', 'build', '-o', program, source], { env: { ...env, GOCACHE: join(bench.folder, 'go') } });
    const [entry] = (await get<Index>(`manifests/${pushed.replace(':', '-')}`)).manifests;
    const { layers } = await get<Artifact>(`manifests/${entry!.digest}`);
    const statement = await get<{ predicate: { buildDefinition: Record<string, object[]> } }>(
      `blobs/${layers[0]!.digest}`,
    );
    const { buildDefinition } = statement.predicate;
    const materials = buildDefinition.resolvedDependencies!.length;
    const judged = (value: object) => run([program], { input: JSON.stringify(value) });
    expect(await judged(statement)).toMatchObject({ code: 0, stdout: `3 subjects, ${materials} materials\n` });
    buildDefinition.resolvedDependency = [];
    expect(await judged(statement)).toMatchObject({ code: 1, stderr: expect.stringContaining('resolvedDependency') });
  });
});

describeUnless(registry.skip, 'beside the image in a registry', () => {
  test('an SBOM for each platform and provenance for the whole, under the tags where clients look', async () => {
    const index = await get<Index>(`manifests/${pushed}`);
    for (const { digest, platform } of index.manifests) {
      const [entry, ...more] = (await get<Index>(`manifests/${digest.replace(':', '-')}`)).manifests;
      expect(more).toEqual([]);
      expect(entry?.artifactType).toBe('application/spdx+json');
      const artifact = await get<Artifact>(`manifests/${entry!.digest}`);
      expect(artifact.subject.digest).toBe(digest);
      const document = await get<{ name: string }>(`blobs/${artifact.layers[0]!.digest}`);
      expect(document.name).toBe(
        `${host}/trust/node (linux/${platform!.architecture}${platform!.architecture === 'arm64' ? '/v8' : ''})`,
      );
    }
    const [entry] = (await get<Index>(`manifests/${pushed.replace(':', '-')}`)).manifests;
    const statement = await get<{
      subject: { digest: { sha256: string } }[];
      predicate: { buildDefinition: { resolvedDependencies: { uri: string; digest: { sha256: string } }[] } };
    }>(`blobs/${(await get<Artifact>(`manifests/${entry!.digest}`)).layers[0]!.digest}`);
    expect(statement.subject[0]?.digest.sha256).toBe(pushed.slice(7));
    expect(statement.subject).toHaveLength(3);
    const { resolvedDependencies } = statement.predicate.buildDefinition;
    expect(resolvedDependencies.length).toBeGreaterThan(10);
    for (const { uri } of resolvedDependencies)
      expect(uri).toMatch(/^https:\/\/(github\.com|dl\.k8s\.io|registry\.k8s\.io)\//);
  });

  test('pushed again, nothing is added', async () => {
    const before = await get<Index>(`manifests/${pushed.replace(':', '-')}`);
    const again = await bench.kina(['push', small, `${host}/trust/node:v1`, '--sbom', '--provenance', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ uploaded: 0, manifests: 0 });
    expect(await get<Index>(`manifests/${pushed.replace(':', '-')}`)).toEqual(before);
  });

  test('a registry that lists referrers by itself gets no list from kina', async () => {
    const proxy = await startProxy(host, (method) =>
      method === 'PUT' ? { answer: { 'oci-subject': pushed } } : undefined,
    );
    const result = await bench.kina(['push', small, `${proxy.host}/trust/lists:v1`, '--provenance']);
    await proxy.stop();
    expect(digestIn(result)).toBe(pushed);
    const manifests = proxy.requests.filter((request) => /^PUT .*manifests/.test(request));
    expect(manifests).toHaveLength(6); // two platforms, the index, its tag, the statement, the lock
    expect(manifests.join()).not.toContain(pushed.replace(':', '-'));
  });

  test('an image that was built elsewhere has an SBOM and no provenance', async () => {
    const pulled = await bench.kina(['pull', `${host}/trust/node:v1`], { store: 'elsewhere' });
    expect(pulled.code).toBe(0);
    const args = ['push', `${host}/trust/node:v1`, `${host}/trust/again:v1`];
    expect((await bench.kina([...args, '--sbom'], { store: 'elsewhere' })).code).toBe(0);
    const refused = await bench.kina([...args, '--provenance'], { store: 'elsewhere' });
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('no build record for');
  });

  test('without a push there is nothing to attach to', async () => {
    for (const flag of [['--sbom'], ['--provenance'], ['--metadata-file', 'x.json']]) {
      const refused = await bench.build(flag);
      expect(refused).toMatchObject({ code: 2, stdout: '' });
      expect(refused.stderr).toContain('requires --push');
    }
  });

  describeWith('oras', ['oras'], () => {
    test('finds and downloads them', async () => {
      const ref = `${host}/trust/node:v1`;
      const found = await check(['oras', 'discover', '--plain-http', '--format', 'json', ref]);
      expect(found).toContain('application/vnd.in-toto+json');
      const platform = await check([
        'oras',
        'discover',
        '--plain-http',
        '--format',
        'json',
        '--platform',
        'linux/amd64',
        ref,
      ]);
      expect(platform).toContain('application/spdx+json');
    });
  });

  describeWith('crane', ['crane'], () => {
    test('agrees about digest and platforms, and finds every layer whole', async () => {
      const ref = `${host}/trust/node:v1`;
      expect(await check(['crane', 'digest', '--insecure', ref])).toBe(pushed);
      for (const platform of ['linux/amd64', 'linux/arm64']) {
        const config = JSON.parse(await check(['crane', 'config', '--insecure', '--platform', platform, ref]));
        expect(`${config.os}/${config.architecture}`).toBe(platform);
      }
      // Its validation (0.20) reads no zstd.
      const gzip = `${host}/trust/gzip:v1`;
      digestIn(await bench.kina(['push', small, gzip, '--compression', 'gzip']));
      await check(['crane', 'validate', '--insecure', '--remote', gzip]);
    });
  });
});
