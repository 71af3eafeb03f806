import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import type { Fetched } from '../../../src/artifacts/artifact.ts';
import { dpkgDatabase } from '../../../src/debian/database.ts';
import { defaultPruneRules, pruner } from '../../../src/debian/prune.ts';
import { scriptCommands } from '../../../src/debian/scripts.ts';
import { unpackPackages } from '../../../src/debian/unpack-all.ts';
import { sha256 } from '../../../src/host/json.ts';
import { readAll } from '../../../src/tree/entry.ts';
import { Unpacker } from '../../../src/tree/unpack.ts';
import { describeUnless, missing } from '../../support/requirements.ts';

const scratch = mkdtempSync(join(tmpdir(), 'kina-deb-'));
const unpacker = new Unpacker(join(scratch, 'unpacked'));

/** A real package, made by dpkg-deb. `files`: path to content; `-> x` makes a link. */
function deb(name: string, files: Record<string, string>, fields = '', control: Record<string, string> = {}): Fetched {
  const folder = mkdtempSync(join(scratch, 'p-'));
  const stanza = `Package: ${name}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: x <x@y>\n${fields}Description: x\n more\n`;
  const all = {
    ...files,
    'DEBIAN/control': stanza,
    ...Object.fromEntries(Object.entries(control).map(([k, v]) => [`DEBIAN/${k}`, v])),
  };
  for (const [path, content] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), join(folder, path));
    else writeFileSync(join(folder, path), content, { mode: /inst$/.test(path) ? 0o755 : 0o644 });
  }
  const path = `${folder}.deb`;
  execFileSync('dpkg-deb', ['--root-owner-group', '-b', folder, path], { stdio: 'ignore' });
  const digest = sha256(readFileSync(path));
  return {
    path,
    artifact: {
      name,
      version: '1.0-1',
      url: `debian:debian/pool/${name}.deb`,
      size: statSync(path).size,
      digest,
      verifiedBy: 'test',
    },
  };
}
const unpack = (...packages: Fetched[]) => unpackPackages(packages, { unpacker, keep: pruner(defaultPruneRules) });

describeUnless(missing(['dpkg-deb']), 'unpacking', () => {
  test('paths are usr-merged, dpkg’s list keeps the package’s spelling', async () => {
    const { tree, packages } = await unpack(deb('a', { 'bin/tool': 'x', 'lib/a.so': '-> ../etc/a' }));
    expect(tree.get('usr/bin/tool')?.type).toBe('file');
    expect(tree.get('bin')).toMatchObject({ type: 'symlink', target: 'usr/bin' });
    expect(packages[0]?.paths).toEqual(['/.', '/bin', '/bin/tool', '/lib', '/lib/a.so']);
  });

  test('Replaces takes a file over in either order, without it two owners are an error', async () => {
    const old = deb('b', { 'usr/x': 'old' });
    const taker = deb('a', { 'usr/x': 'new' }, 'Replaces: b (<< 2)\n');
    for (const order of [
      [old, taker],
      [taker, old],
    ]) {
      const { tree } = await unpack(...order);
      expect((await readAll(tree.file('usr/x')!.content)).toString()).toBe('new');
    }
    await expect(unpack(old, deb('c', { 'usr/x': 'other' }))).rejects.toThrow(
      /two packages ship \/usr\/x: deb:b and deb:c/,
    );
  });

  test('the database: digests of configuration files, scripts, triggers, names of multi-arch packages; nothing of what was pruned', async () => {
    const one = deb(
      'a',
      { 'etc/a.conf': 'hello\n', 'usr/share/man/man1/a.1': 'x', 'usr/share/doc/a/copyright': 'c' },
      'Multi-Arch: same\n',
      {
        conffiles: '/etc/a.conf\n',
        postinst: '#!/bin/sh\ntrue\n',
        triggers: 'interest-noawait /usr/lib/x\ninterest named\n',
        md5sums: `${'0'.repeat(32)}  usr/share/man/man1/a.1\n${'1'.repeat(32)}  usr/share/doc/a/copyright\n`,
      },
    );
    const { packages } = await unpack(one);
    const texts = new Map<string, string>();
    for (const entry of dpkgDatabase(packages, 'amd64', [], 'system'))
      if (entry.type === 'file')
        texts.set(entry.path.slice('var/lib/dpkg/'.length), (await readAll(entry.content)).toString());
    expect(texts.get('status')).toContain('Status: install ok installed\n');
    expect(texts.get('status')).toContain('Conffiles:\n /etc/a.conf b1946ac92492d2347c6235b4d2611184\n');
    expect(texts.get('info/a:amd64.md5sums')).toBe(`${'1'.repeat(32)}  usr/share/doc/a/copyright\n`);
    expect(texts.get('info/a:amd64.list')).not.toContain('man1');
    expect(texts.get('triggers/File')).toBe('/usr/lib/x a:amd64/noawait\n');
    expect(texts.get('triggers/named')).toBe('a:amd64\n');
  });

  test('the package must be the version that the lock names', async () => {
    const one = deb('a', { x: '1' });
    const wrong = { ...one, artifact: { ...one.artifact, version: '2' } };
    await expect(unpack(wrong)).rejects.toThrow(/got 1.0-1, want 2/);
  });

  test('a file that is not a package is reported', async () => {
    const path = join(scratch, 'junk.deb');
    writeFileSync(path, '!<arch>\n');
    const junk = deb('j', { x: '1' });
    await expect(unpack({ ...junk, path })).rejects.toThrow(/j \(j\.deb\).*debian-binary/);
  });
});

test('commands of scripts: debhelper’s own, comments, words in tests and output do not count', () => {
  const script = `#!/bin/sh
# chmod this
# Automatically added by dh_foo
chown root /x
# End automatically added section
if [ "$1" = install ]; then echo done; cat <<E >&2
E
fi
foo && /usr/sbin/adduser --system x
`;
  expect(scriptCommands(script)).toEqual(['adduser']);
});
