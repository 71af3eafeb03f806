/**
 * The small system that is the ground of every test image: Debian's static busybox under the name of each of its applets,
 * as hard links in a real `/bin`, as upstream's images have it: when a container hides `/bin/ls`, only `ls` goes.
 *
 * Debian's shell has one property that a test of hidden files cannot bear: it runs applets itself when their file cannot be
 * run (Debian's patch `applets-fallback`). So `/bin/sh` is a copy that does not know `ls`: its name in the table of
 * applets, which is sorted, becomes `lr`.
 */
import { bytesContent, type Entry, readAll } from '../../../src/tree/entry.ts';
import { directory, file, Tree } from '../../../src/tree/tree.ts';
import type { Packages } from './packages.ts';

const owner = 'busybox';

/** As everywhere: `name:uid:gid`. */
const accounts = ['root:0:0', 'www-data:33:33', 'nobody:65534:65534'];

export async function busyboxTree(packages: Packages): Promise<Tree> {
  const debian = await packages.tree({ packages: ['busybox-static'] });
  const program = await readAll(debian.file('usr/bin/busybox')!.content);
  const { names, start } = appletTable(program);
  const tree = new Tree();
  tree.add(file('bin/busybox', bytesContent(program), owner, 0o755));
  tree.add(file('bin/sh', bytesContent(withoutLs(program, names, start)), owner, 0o755));
  for (const name of names)
    if (name !== 'busybox' && name !== 'sh')
      tree.add({ type: 'hardlink', path: `bin/${name}`, target: 'bin/busybox', mode: 0o755, uid: 0, gid: 0, owner });
  for (const entry of accountFiles([])) tree.add(entry);
  for (const path of ['dev', 'proc', 'root', 'run', 'sys', 'usr', 'usr/bin', 'usr/sbin', 'var', 'var/run'])
    tree.add(directory(path, owner));
  tree.add(directory('tmp', owner, 0o1777));
  tree.addMissingParents(owner);
  return tree;
}

/** passwd and group: the usual accounts and `more` of them, `name:uid:gid`; `groups` are lines of group(5). */
export function accountFiles(more: readonly string[], groups: readonly string[] = []): Entry[] {
  const all = [...accounts, ...more].map((account) => account.split(':'));
  const passwd = all.map(([name, uid, gid]) => `${name}:x:${uid}:${gid}:${name}:/:/bin/sh\n`);
  const group = [...all.map(([name, , gid]) => `${name}:x:${gid}:`), ...groups].map((line) => `${line}\n`);
  return [
    file('etc/passwd', bytesContent(passwd.join('')), owner),
    file('etc/group', bytesContent(group.join('')), owner),
  ];
}

/** All applets, from the program's own table of names: NUL-terminated, sorted, `[` first, an empty one last. */
function appletTable(program: Buffer): { names: string[]; start: number } {
  const start = program.indexOf('[\0[[\0');
  const end = program.indexOf('\0\0', start);
  const names = program.toString('latin1', start, end).split('\0');
  if (start < 0 || names.length < 100 || names.some((name) => !/^[\w.[-]+$/.test(name)))
    throw new Error('the table of applets in Debian’s busybox is not where it was');
  return { names, start };
}

function withoutLs(program: Buffer, names: readonly string[], start: number): Buffer {
  const place = names.indexOf('ls');
  if (place < 0 || names[place - 1]! >= 'lr' || names[place + 1]! <= 'lr')
    throw new Error('no place for lr among the applets');
  const copy = Buffer.from(program);
  copy.write('lr', start + names.slice(0, place).join('\0').length + 1, 'latin1');
  return copy;
}
