/** `kina push --sign-key`, `kina sign` and `kina verify` as programs: output, exit codes, and secrets that are never printed. */
import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bench, digestIn, openBench, version } from '../../support/kina.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';
import { startServer } from '../../support/server.ts';
import { identityToken, type Sigstore, startSigstore } from '../../support/sigstore.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const small = `localhost/kina/small:${version}`;
const secret = 'planted-secret-4713';
const passphrase = { KINA_SIGN_PASSPHRASE: secret };

describeUnless(registry.skip, 'the command line signs', () => {
  let bench: Bench;
  let sigstore: Sigstore;
  beforeAll(async () => {
    bench = await openBench();
    sigstore = await startSigstore();
    digestIn(await bench.build());
    const spki = { format: 'pem', type: 'spki' } as const;
    const pkcs8 = { format: 'pem', type: 'pkcs8' } as const;
    const put = (name: string, text: string | Buffer) => writeFile(join(bench.folder, name), text);
    const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const other = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await put('key.pub', own.publicKey.export(spki));
    await put('key.pem', own.privateKey.export({ ...pkcs8, cipher: 'aes-256-cbc', passphrase: secret }));
    await put('other.pub', generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export(spki));
    await put('p384.pem', other.privateKey.export(pkcs8));
    await put('root.json', JSON.stringify(sigstore.root));
    await put('no-root.json', '{}');
  });
  afterAll(async () => {
    await sigstore?.stop();
    await bench?.close();
    if (registry.skip === undefined) await registry.stop();
  });

  const verify = (ref: string, ...flags: string[]) => bench.kina(['verify', `docker://${host}/${ref}`, ...flags]);

  test('push --sign-key: prints only the reference, and --require-signature accepts only that key', async () => {
    const args = ['push', small, `${host}/cli/key:v1`, '--sbom', '--provenance', '--sign-key', 'key.pem'];
    const pushed = await bench.kina(args, { env: passphrase });
    expect(pushed.stdout, pushed.stderr).toMatch(new RegExp(`^${host}/cli/key:v1@sha256:[0-9a-f]{64}\n$`));
    const good = await verify('cli/key:v1', '--require-signature', '--key', 'key.pub');
    expect(good.code, good.stderr).toBe(0);
    expect(good.stdout).toMatch(/^provenance {2}matches: .*; signed with the image$/m);
    expect(good.stdout).toMatch(/^signature {3}verified: key [A-Za-z0-9+/]{43}=$/m);
    expect(good.stdout).toMatch(/^SBOM {8}matches: 1 attached to the image$/m);
    const wrong = await verify('cli/key:v1', '--key', 'other.pub');
    expect(wrong).toMatchObject({ code: 1, stdout: '' });
    expect(wrong.stderr).toContain('is not accepted: verification failed');
    // Without a key: it passes with a note, but not with --require-signature.
    const unnamed = await verify('cli/key:v1');
    expect(unnamed.code).toBe(0);
    expect(unnamed.stdout).toContain('signature   present, not verified');
    const required = await verify('cli/key:v1', '--require-signature');
    expect(required).toMatchObject({ code: 1, stdout: '' });
    expect(required.stderr).toContain('no key or identity to verify it with');
    const json = await verify('cli/key:v1', '--key', 'key.pub', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ verified: true, signature: 'verified', sboms: 1 });
  });

  test('an unsigned image passes with a note; --require-signature rejects it; kina sign signs it', async () => {
    const ref = `${host}/cli/later:v1`;
    const digest = digestIn(await bench.kina(['push', small, ref]));
    const unsigned = await verify('cli/later:v1', '--key', 'key.pub');
    expect(unsigned.code).toBe(0);
    expect(unsigned.stdout).toContain('signature   none');
    const refused = await verify('cli/later:v1', '--key', 'key.pub', '--require-signature');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('is not signed');
    const signed = await bench.kina(['sign', ref, '--key', 'key.pem'], { env: passphrase });
    expect(signed.stdout, signed.stderr).toBe(`${ref}@${digest}\n`);
    expect((await verify('cli/later:v1', '--key', 'key.pub', '--require-signature')).code).toBe(0);
  });

  test('build --push --sign, keyless', async () => {
    const person = 'https://ci.example.org/images';
    const issuer = 'https://token.example.org';
    const ref = `${host}/cli/built:v1`;
    const env = { SIGSTORE_ID_TOKEN: identityToken(person, issuer, secret) };
    const built = await bench.build(['--tag', ref, '--push', '--sign', ...sigstore.flags], { env });
    expect(digestIn(built)).toMatch(/^sha256:/);
    const who = ['--identity', person, '--issuer', issuer, '--trusted-root', 'root.json'];
    const good = await verify('cli/built:v1', '--require-signature', ...who);
    expect(good.code, good.stderr).toBe(0);
    expect(good.stdout).toContain(`signature   verified: ${person} (${issuer})`);
  });

  test('passphrases and tokens are never written', async () => {
    const token = identityToken('https://ci.example.org/secret', 'https://token.example.org', secret);
    const said = [
      await bench.kina(['-v', '5', 'sign', `${host}/cli/later:v1`, '--key', 'key.pem'], { env: passphrase }),
      await bench.kina(['-v', '5', 'sign', `${host}/cli/later:v1`, '--key', 'key.pem'], {
        env: { KINA_SIGN_PASSPHRASE: `${secret}!` },
      }),
      await bench.kina(['-v', '5', 'sign', `${host}/cli/later:v1`, ...sigstore.flags, '--json'], {
        env: { SIGSTORE_ID_TOKEN: token },
      }),
      await bench.kina(['-v', '5', 'sign', `${host}/cli/later:v1`, ...sigstore.flags], {
        env: { SIGSTORE_ID_TOKEN: secret },
      }),
    ];
    sigstore.broken.set('/api/v2/signingCert', { status: 400, body: JSON.stringify({ message: `no: ${token}` }) });
    said.push(
      await bench.kina(['-v', '5', 'sign', `${host}/cli/later:v1`, ...sigstore.flags], {
        env: { SIGSTORE_ID_TOKEN: token },
      }),
    );
    sigstore.broken.clear();
    expect(said.map(({ code }) => code)).toEqual([0, 2, 0, 2, 1]);
    expect(said[4]!.stderr).toContain('no: ***');
    for (const { stdout, stderr } of said) expect(stdout + stderr).not.toContain('planted-secret');
    if (registry.skip !== undefined) return;
    let files = 0;
    const found: string[] = [];
    for (const folder of [registry.storage, join(bench.folder, 'store')])
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const path = join(folder, name);
        if (!statSync(path).isFile()) continue;
        files++;
        const text = readFileSync(path, 'latin1');
        // Bundles and certificates hold base64 in base64: look inside too.
        const texts = [text, ...[...text.matchAll(/[A-Za-z0-9+/=_-]{40,}/g)].map(([one]) => decoded(one))];
        if (texts.some((one) => one.includes('planted-secret'))) found.push(path);
      }
    expect(files).toBeGreaterThan(50);
    expect(found).toEqual([]);
  });
  const decoded = (text: string): string => Buffer.from(text, 'base64').toString('latin1');

  test('wrong flags are refused before anything is sent', async () => {
    const asked = sigstore.requests.length;
    const there = `${host}/cli/refused:v1`;
    for (const [said, ...args] of [
      ['cannot be used together', 'push', small, there, '--sign', '--sign-key', 'key.pem'],
      ['no identity for signing', 'push', small, there, '--sign'],
      ['require --sign', 'push', small, there, '--rekor-url', 'https://x.example'],
      ['cannot read the key', 'push', small, there, '--sign-key', 'none.pem'],
      ['there is no passphrase', 'push', small, there, '--sign-key', 'key.pem'],
      ['does not contain a private key', 'push', small, there, '--sign-key', 'key.pub'],
      ['unsupported type of key: ec secp384r1', 'push', small, there, '--sign-key', 'p384.pem'],
      ['requires --push', 'build', 'node-image', version, '--sign-key', 'key.pem'],
      ['is a private key', 'verify', small, '--key', 'key.pem'],
      ['does not contain a public key', 'verify', small, '--key', 'root.json'],
      ['must be used together', 'verify', small, '--identity', 'x'],
      ['requires --trusted-root', 'verify', small, '--identity', 'x', '--issuer', 'y'],
      ['--key cannot be used with', 'verify', small, '--key', 'key.pub', '--identity', 'x', '--issuer', 'y'],
      [
        'not a Sigstore trusted root',
        'verify',
        small,
        '--identity',
        'x',
        '--issuer',
        'y',
        '--trusted-root',
        'no-root.json',
      ],
      ['--trusted-root requires', 'verify', small, '--trusted-root', 'root.json'],
    ] as const) {
      const refused = await bench.kina(args);
      expect(refused, args.join(' ')).toMatchObject({ code: 2, stdout: '' });
      expect(refused.stderr, args.join(' ')).toContain(said);
    }
    const plain = ['--fulcio-url', 'http://fulcio.example.org', '--rekor-url', sigstore.url];
    const env = { SIGSTORE_ID_TOKEN: identityToken('x', 'y') };
    const refused = await bench.kina(['sign', there, ...plain], { env });
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('expected an https URL') });
    expect(sigstore.requests).toHaveLength(asked);
    expect((await fetch(`http://${host}/v2/cli/refused/tags/list`)).status).toBe(404);
  });

  test('the next command cleans up after a verify that was killed', async () => {
    const ref = 'cli/later:v1';
    expect((await verify(ref)).code).toBe(0);
    // From now on the registry falls silent in the middle of blobs, which the store has and which are read again.
    const silent = await startServer(async (request, response) => {
      if (request.url?.includes('/blobs/')) return void response.writeHead(200).write('x');
      const accept = request.headers.accept ?? '*/*';
      const answer = await fetch(`http://${host}${request.url}`, { headers: { accept } });
      const type = { 'content-type': answer.headers.get('content-type') ?? '' };
      response.writeHead(answer.status, type).end(Buffer.from(await answer.arrayBuffer()));
    });
    const store = join(bench.folder, 'store');
    const running = bench.run(['verify', `docker://${silent.url.slice(7)}/${ref}`]);
    await running.until(() =>
      readdirSync(join(store, 'tmp')).some((name) =>
        statSync(join(store, 'tmp', name), { throwIfNoEntry: false })?.isDirectory(),
      ),
    );
    running.process.kill('SIGKILL');
    await running.ended;
    await silent.stop();
    expect(readdirSync(join(store, 'tmp'))).not.toEqual([]);
    expect((await bench.kina(['image', 'ls'])).code).toBe(0);
    expect(readdirSync(join(store, 'tmp'))).toEqual([]);
    expect(readdirSync(store).filter((name) => name.startsWith('verify'))).toEqual([]);
  });
});
