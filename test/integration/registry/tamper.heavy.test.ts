/**
 * One byte changed in a registry's own storage, of every part of the chain in turn: `kina verify` fails and names the part,
 * though its store has the image already; put right again, it passes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KinaError } from '../../../src/host/errors.ts';
import type { Digest } from '../../../src/oci/descriptor.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { readManifest } from '../../../src/oci/registry/client.ts';
import { readReferrer, referrersOf } from '../../../src/oci/registry/referrers.ts';
import { type Published, publishSigned } from '../../support/published.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';

const registry = await startRegistry();
const ref = registry.skip !== undefined ? '' : `${registry.host}/tamper/node:v1`;

describeUnless(registry.skip, 'one changed byte', () => {
  let image: Published;
  /** What an error has to say, and the blob. */
  const chain: [RegExp, Digest][] = [];

  beforeAll(async () => {
    image = await publishSigned(ref);
    const from = parseReference(ref);
    const read = async (digest: Digest) => JSON.parse((await readManifest(from, digest, image.transport)).toString());
    const { digest: top } = image.root;
    chain.push([/index/, top]);
    const beside = async (subject: Digest, of: string) => {
      for (const listed of await referrersOf(from, subject, image.transport)) {
        const { entry, documents } = await readReferrer(from, listed, subject, image.transport);
        const name = names[entry.artifactType];
        if (!name) throw new Error(`unexpected ${entry.artifactType}`);
        for (const digest of [entry.digest, documents[0]!.digest]) chain.push([new RegExp(`${name}${of}`), digest]);
      }
    };
    await beside(top, '');
    for (const { digest, platform } of (await read(top)).manifests) {
      const of = ` of linux/${platform.architecture}`;
      const manifest = await read(digest);
      chain.push([new RegExp(`manifest${of}`), digest], [new RegExp(`config${of}`), manifest.config.digest]);
      for (const [i, layer] of manifest.layers.entries())
        chain.push([new RegExp(`layer ${i + 1}( |${of})`), layer.digest]);
      await beside(digest, of);
    }
  });
  afterAll(async () => {
    await image?.close();
    if (registry.skip === undefined) await registry.stop();
  });

  test('every part of the chain is in the test', () => {
    const parts = chain.map(([what]) => what.source.replace(/ \d.*| of .*/, ''));
    expect([...new Set(parts)].sort()).toEqual(
      ['SBOM', 'config', 'index', 'layer', 'lock', 'manifest', 'provenance', 'signature'].sort(),
    );
    expect(chain.length).toBeGreaterThan(20);
  });

  test('is found and named wherever it is, and nothing is said about an image that was put right again', async () => {
    const sound = { damage: [], problems: [], signature: 'verified', provenance: { signed: true }, sboms: 2 };
    expect(await image.verify(ref)).toMatchObject(sound);
    for (const [what, digest] of chain) {
      const hex = digest.slice(7);
      if (registry.skip !== undefined) return;
      const file = join(registry.storage, 'blobs/sha256', hex.slice(0, 2), hex, 'data');
      const bytes = await readFile(file);
      await writeFile(file, changed(bytes));
      expect(await complaint(), `${what} ${digest}`).toMatch(what);
      await writeFile(file, bytes);
    }
    expect(await image.verify(ref)).toMatchObject(sound);
  });

  const names: Readonly<Record<string, string>> = {
    'application/spdx+json': 'SBOM',
    'application/vnd.in-toto+json': 'provenance',
    'application/vnd.kina.lock.v1+yaml': 'lock',
    'application/vnd.dev.sigstore.bundle.v0.3+json': 'signature',
  };

  /** What is said against the image; empty for a sound one. */
  async function complaint(): Promise<string> {
    try {
      const { damage, problems } = await image.verify(ref);
      return [...damage.map(({ what, problem }) => `${what}: ${problem}`), ...problems].join('; ');
    } catch (error) {
      if (!(error instanceof KinaError) || error.code !== 'integrity') throw error;
      return [error.message, ...error.details].join('; ');
    }
  }

  /** A digit of a digest where there is one, so that documents stay well-formed and registries serve them; else any byte. */
  function changed(bytes: Buffer): Buffer {
    const other = Buffer.from(bytes);
    const at = bytes.lastIndexOf('sha256:');
    const place = at < 0 || bytes[0] !== 0x7b ? bytes.length >> 1 : at + 'sha256:'.length;
    other[place] = bytes[place] === 0x31 ? 0x32 : 0x31;
    return other;
  }
});
