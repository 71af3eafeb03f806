/**
 * Signatures of images in a real registry: made and verified by kina, and by cosign the other way round. A signature that was
 * moved, replaced or forged is detected.
 */
import { generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleToJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { DSSEBundleBuilder } from '@sigstore/sign';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Transport } from '../../../src/host/http.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { attach, referrersOf } from '../../../src/oci/registry/referrers.ts';
import { publishImage } from '../../../src/ops/registry/publish.ts';
import { attachDocuments } from '../../../src/ops/trust/attach.ts';
import { attachSignature } from '../../../src/ops/trust/attach-signature.ts';
import { bundleType, signatureAttachment } from '../../../src/ops/trust/bundle.ts';
import type { Trust } from '../../../src/ops/trust/check-signature.ts';
import { keyHint } from '../../../src/ops/trust/keys.ts';
import { rememberOrigin } from '../../../src/ops/trust/origin.ts';
import { keylessSigner, keySigner } from '../../../src/ops/trust/sign.ts';
import { type Verdict, verify } from '../../../src/ops/verify/verify.ts';
import { directNetwork } from '../../../src/session/connection.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { check, run } from '../../support/command.ts';
import { smallRecipe, version } from '../../support/kina.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless, describeWith } from '../../support/requirements.ts';
import { identityToken, type Sigstore, startSigstore } from '../../support/sigstore.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const byKey = (key: KeyObject): Trust => ({ key, root: undefined });

describeUnless(registry.skip, 'signatures', () => {
  let upstream: Upstream;
  let workshop: Workshop;
  let elsewhere: Workshop;
  let built: Descriptor;
  const transport = new Transport(directNetwork({ environment: process.env, insecureRegistry: [], version: 'test' }));

  beforeAll(async () => {
    upstream = await startUpstream();
    workshop = await openWorkshop({ mirror: [upstream.url] });
    elsewhere = await openWorkshop();
    const platforms = ['linux/amd64', 'linux/arm64'];
    const made = await workshop.build({ recipe: smallRecipe, source: version, platforms });
    await rememberOrigin(workshop.tools.store, made.resolved.lock, made);
    built = made.index;
  });
  afterAll(async () => {
    await transport.close();
    await workshop?.close();
    await elsewhere?.close();
    await upstream?.stop();
    if (registry.skip === undefined) await registry.stop();
  });

  const tools = () => ({ store: workshop.tools.store, transport, version: '0.0.0-test' });
  /** The image in a repository of its own, not signed. */
  async function pushed(
    name: string,
  ): Promise<{ ref: string; to: ReturnType<typeof parseReference>; root: Descriptor }> {
    const ref = `${host}/sign/${name}:v1`;
    const to = parseReference(ref);
    const { store, reporter } = workshop.tools;
    const { root } = await publishImage(built, [to], 'none', { store, reporter, transport });
    return { ref, to, root };
  }
  const judge = (ref: string, trust: Trust | undefined): Promise<Verdict> =>
    verify({
      ...elsewhere.tools,
      rebuild: false,
      lock: undefined,
      recipe: undefined,
      trust,
      image: `docker://${ref}`,
    });

  test('with a key: image and documents are covered by one signature, which only this key verifies', async () => {
    const { ref, to, root } = await pushed('key');
    const documents = { sbom: true, provenance: true, signer: keySigner(own.privateKey) };
    const attached = await attachDocuments(root, [to], documents, tools());
    expect(attached.map(({ type }) => type).at(-1)).toBe(bundleType);
    expect(await judge(ref, byKey(own.publicKey))).toMatchObject({
      signature: 'verified',
      signers: [`key ${keyHint(own.publicKey)}`],
      problems: [],
      damage: [],
      sboms: 2,
      provenance: { signed: true },
    });
    expect(await judge(ref, undefined)).toMatchObject({ signature: 'unchecked', signers: [], problems: [] });
    const wrong = await judge(ref, byKey(other.publicKey));
    expect(wrong).toMatchObject({ signature: 'wrong', signers: [], provenance: { signed: false } });
    expect(wrong.problems.join()).toMatch(/signature sha256:[0-9a-f]{64} is not accepted: verification failed/);
    // Pushed and signed again: nothing is added, or every nightly push would leave another one.
    const before = await referrersOf(to, root.digest, transport);
    await attachDocuments(root, [to], documents, tools());
    expect(await referrersOf(to, root.digest, transport)).toEqual(before);
  });

  test('an unsigned image is called unsigned, with any trust root', async () => {
    const { ref } = await pushed('bare');
    expect(await judge(ref, byKey(own.publicKey))).toMatchObject({ signature: 'none', problems: [] });
  });

  test('two signatures: one that verifies is enough', async () => {
    const { ref, to, root } = await pushed('two');
    await attachSignature(to, root, [], keySigner(other.privateKey), tools());
    await attachSignature(to, root, [], keySigner(own.privateKey), tools());
    expect(await judge(ref, byKey(own.publicKey))).toMatchObject({ signature: 'verified', problems: [] });
  });

  test('Ed25519 and RSA keys', async () => {
    for (const pair of [generateKeyPairSync('ed25519'), generateKeyPairSync('rsa', { modulusLength: 2048 })]) {
      const { ref, to, root } = await pushed(`kind-${pair.publicKey.asymmetricKeyType}`);
      await attachSignature(to, root, [], keySigner(pair.privateKey), tools());
      expect(await judge(ref, byKey(pair.publicKey))).toMatchObject({ signature: 'verified' });
    }
  });

  test('a good signature of another image, put beside this one, is refused', async () => {
    const { ref, to, root } = await pushed('moved');
    const bundle = await keySigner(own.privateKey).sign(`sha256:${'f'.repeat(64)}`, []);
    await attach(to, signatureAttachment(root, bundle), transport);
    const { signature, problems } = await judge(ref, byKey(own.publicKey));
    expect([signature, problems.join()]).toEqual(['wrong', expect.stringContaining(`wrong image: got sha256:ffff`)]);
  });

  test('an attestation by the same key is not a signature: it makes a different statement about the image', async () => {
    const { ref, to, root } = await pushed('attested');
    const signer = {
      sign: async (data: Buffer) => ({
        signature: signBytes(undefined, data, own.privateKey),
        key: { $case: 'publicKey' as const, publicKey: '', hint: 'x' },
      }),
    };
    const data = Buffer.from(
      JSON.stringify({
        _type: 'https://in-toto.io/Statement/v1',
        subject: [{ digest: { sha256: root.digest.slice(7) } }],
        predicateType: 'https://example.org/scanned/v1',
        predicate: { vulnerable: true },
      }),
    );
    const type = 'application/vnd.in-toto+json';
    const bundle = await new DSSEBundleBuilder({ signer, witnesses: [] }).create({ data, type });
    const document = Buffer.from(JSON.stringify(bundleToJSON(bundle)));
    await attach(to, { subject: root, type: bundleType, document, title: 'x' }, transport);
    expect(await judge(ref, byKey(own.publicKey))).toMatchObject({ signature: 'none', problems: [] });
  });

  test('what only looks like a bundle is refused, and does not prevent signing', async () => {
    const { ref, to, root } = await pushed('rubbish');
    for (const text of ['{}', 'no JSON', '[1]'])
      await attach(to, { subject: root, type: bundleType, document: Buffer.from(text), title: 'x' }, transport);
    expect((await judge(ref, undefined)).signature).toBe('unchecked');
    const { signature, problems } = await judge(ref, byKey(own.publicKey));
    expect([signature, problems.length]).toEqual(['wrong', 3]);
    await attachSignature(to, root, [], keySigner(own.privateKey), tools());
    expect((await judge(ref, byKey(own.publicKey))).signature).toBe('verified');
  });

  describe('keyless, with a Sigstore instance of its own', () => {
    const person = 'https://github.com/example/images/.github/workflows/build.yaml@refs/heads/main';
    const issuer = 'https://token.example.org';
    let sigstore: Sigstore;
    let root: TrustedRoot;
    beforeAll(async () => {
      sigstore = await startSigstore();
      root = TrustedRoot.fromJSON(sigstore.root);
      process.env.SIGSTORE_ID_TOKEN = identityToken(person, issuer);
    });
    afterAll(async () => {
      delete process.env.SIGSTORE_ID_TOKEN;
      await sigstore?.stop();
    });
    const signer = () => keylessSigner({ fulcio: sigstore.url, rekor: sigstore.url }, process.env);

    test('the identity and its issuer verify, whole and nothing else; no server is asked', async () => {
      const { ref, to, root: image } = await pushed('keyless');
      await attachSignature(to, image, [], signer(), tools());
      const asked = sigstore.requests.length;
      expect(await judge(ref, { identity: person, issuer, root })).toMatchObject({
        signature: 'verified',
        signers: [`${person} (${issuer})`],
        problems: [],
      });
      for (const [identity, by] of [
        ['https://github.com/example/images', issuer], // a part of the name
        [`${person}s`, issuer],
        ['.*', issuer], // no pattern either
        [person, 'https://token.example.net'],
      ] as const) {
        const { signature, problems } = await judge(ref, { identity, issuer: by, root });
        expect([signature, problems.join()]).toEqual([
          'wrong',
          expect.stringContaining(`wrong identity: got ${person} (${issuer})`),
        ]);
      }
      expect((await judge(ref, byKey(own.publicKey))).problems.join()).toContain('with an identity, not with a key');
      expect(sigstore.requests).toHaveLength(asked);
    });

    describeWith('cosign', ['cosign'], () => {
      test("accepts it, with the same root, identity and issuer, and without Sigstore's public instance", async () => {
        const { to, root: image } = await pushed('keyless-to-cosign');
        await attachSignature(to, image, [], signer(), tools());
        const file = join(workshop.tools.store.root, 'root.json');
        await writeFile(file, JSON.stringify(sigstore.root));
        const command = (name: string) => [
          'cosign',
          'verify',
          '--trusted-root',
          file,
          '--certificate-identity',
          name,
          '--certificate-oidc-issuer',
          issuer,
          `${host}/sign/keyless-to-cosign@${image.digest}`,
        ];
        const env = { TUF_ROOT: '/nonexistent' };
        expect(await check(command(person), { env })).toContain(image.digest);
        expect((await run(command(`${person}s`), { env })).code).not.toBe(0);
      });
    });

    test('with the root of another instance nothing verifies', async () => {
      const { ref, to, root: image } = await pushed('foreign');
      await attachSignature(to, image, [], signer(), tools());
      const stranger = await startSigstore();
      await stranger.stop();
      const foreign = TrustedRoot.fromJSON(stranger.root);
      // Also one authority exchanged alone: certificates, certificate log and log each have to be the instance's own.
      for (const mixed of [
        foreign,
        { ...root, certificateAuthorities: foreign.certificateAuthorities },
        { ...root, ctlogs: foreign.ctlogs },
        { ...root, tlogs: foreign.tlogs },
        { ...root, tlogs: [] }, // then nothing proves the time
      ])
        expect((await judge(ref, { identity: person, issuer, root: mixed })).signature).toBe('wrong');
    });

    test('a service that fails: what went wrong, what is there, and never the token', async () => {
      const { to, root: image } = await pushed('failing');
      const token = identityToken(person, issuer, 'planted-secret-4712');
      process.env.SIGSTORE_ID_TOKEN = token;
      const said = JSON.stringify({ message: `I was sent ${token}` });
      for (const path of ['/api/v2/signingCert', '/api/v1/log/entries']) {
        sigstore.broken.set(path, { status: 400, body: said });
        const error = await attachSignature(to, image, [], signer(), tools()).catch((e) => e);
        expect(error).toMatchObject({ code: 'network', message: expect.stringContaining(sigstore.url) });
        expect(error.details.join()).toContain('I was sent ***');
        expect(`${JSON.stringify(error)}${error.stack}${error.cause}`).not.toContain('planted-secret');
        sigstore.broken.clear();
      }
      for (const wrong of ['planted-secret-4712', `a.${token.slice(0, 9)}.planted-secret-4712`]) {
        process.env.SIGSTORE_ID_TOKEN = wrong;
        const error = await attachSignature(to, image, [], signer(), tools()).catch((e) => e);
        expect(error).toMatchObject({ code: 'usage' });
        expect(`${JSON.stringify(error)}${error.stack}${error.cause}`).not.toContain('planted-secret');
      }
      expect(await referrersOf(to, image.digest, transport)).toEqual([]);
      process.env.SIGSTORE_ID_TOKEN = identityToken(person, issuer);
    });
  });

  describeWith('cosign', ['cosign'], () => {
    const env = { COSIGN_PASSWORD: 'secret', TUF_ROOT: '/nonexistent' };
    test("accepts kina's signature with the key, and no other image or key", async () => {
      const { to, root } = await pushed('to-cosign');
      const documents = { sbom: true, provenance: true, signer: keySigner(own.privateKey) };
      await attachDocuments(root, [to], documents, tools());
      const folder = workshop.tools.store.root;
      const files = await Promise.all(
        Object.entries({ own, other }).map(async ([name, { publicKey }]) => {
          const file = join(folder, `${name}.pub`);
          await writeFile(file, publicKey.export({ format: 'pem', type: 'spki' }));
          return file;
        }),
      );
      const command = (key: string) => [
        'cosign',
        'verify',
        '--key',
        key,
        '--insecure-ignore-tlog=true',
        `${host}/sign/to-cosign@${root.digest}`,
      ];
      expect(JSON.parse(await check(command(files[0]!), { env }))).toMatchObject([
        { critical: { image: { 'docker-manifest-digest': root.digest } } },
      ]);
      expect((await run(command(files[1]!), { env })).code).not.toBe(0);
    });

    test('signs, and kina verifies it', async () => {
      const { ref, root } = await pushed('from-cosign');
      const cwd = workshop.tools.store.root;
      await check(['cosign', 'generate-key-pair'], { env, cwd });
      const flags = ['--tlog-upload=false', '--use-signing-config=false', '--yes'];
      const image = `${host}/sign/from-cosign@${root.digest}`;
      await check(['cosign', 'sign', '--key', 'cosign.key', ...flags, image], { env, cwd });
      const { readPublicKey } = await import('../../../src/ops/trust/keys.ts');
      const trust = byKey(await readPublicKey(join(cwd, 'cosign.pub')));
      expect(await judge(ref, trust)).toMatchObject({ signature: 'verified', problems: [] });
    });
  });
});
