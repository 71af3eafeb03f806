import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { certificateEntries } from '../../../src/debian/certificates.ts';
import { bytesContent, readAll } from '../../../src/tree/entry.ts';
import { file, Tree } from '../../../src/tree/tree.ts';

/** Subjects that OpenSSL's canonical form treats specially: case, spaces, several attributes in one set, not ASCII, no subject. */
const subjects = ['/C=DE/O=Ein  Haus /CN=Tüst CA', '/O=UPPER lower/OU=x+CN=y', '/CN=a', '/C=XX/CN=a'];

test('hash links are those of `openssl rehash`, collisions numbered', async (context) => {
  if (spawnSync('openssl', ['version']).status !== 0)
    return context.skip('openssl is not installed: nothing to compare with');
  const folder = mkdtempSync(join(tmpdir(), 'kina-ca-'));
  const tree = new Tree();
  [...subjects, '/CN=a'].forEach((subject, i) => {
    const pem = execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-utf8',
        '-multivalue-rdn',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        '/dev/null',
        '-subj',
        subject,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    writeFileSync(join(folder, `c${i}.pem`), pem);
    tree.add(file(`usr/share/ca-certificates/x/c${i}.crt`, bytesContent(pem), 'test'));
  });
  execFileSync('openssl', ['rehash', folder], { stdio: 'ignore' });
  const expected = readdirSync(folder)
    .filter((n) => /\.\d$/.test(n))
    .map((n) => `${n} -> ${readlinkSync(join(folder, n))}`);
  const entries = await certificateEntries(tree, 'system');
  const links = entries.flatMap((e) =>
    e.type === 'symlink' && /\.\d$/.test(e.path) ? [`${e.path.slice(14)} -> ${e.target}`] : [],
  );
  expect(links.sort()).toEqual(expected.sort());
});

test('the bundle survives a certificate without a newline at its end', async () => {
  const pem = readFileSync('test/unit/debian/ca.pem', 'utf8').trimEnd();
  const tree = new Tree();
  for (const name of ['b', 'a (1), x'])
    tree.add(file(`usr/share/ca-certificates/m/${name}.crt`, bytesContent(pem), 'test'));
  const entries = await certificateEntries(tree, 'system');
  const find = (path: string) => entries.find((e) => e.path === path);
  const bundle = find('etc/ssl/certs/ca-certificates.crt');
  expect(bundle?.type === 'file' && (await readAll(bundle.content)).toString()).toBe(`${pem}\n${pem}\n`);
  expect(find('etc/ssl/certs/a_=1=__x.pem')).toMatchObject({ target: '/usr/share/ca-certificates/m/a (1), x.crt' });
});
