/**
 * What maintainer scripts create besides accounts, alternatives and caches: copies of files in `/usr/share`, empty
 * folders and files, owners and modes. One table per package, from the scripts of Debian 12 and 13.
 */
import { bytesContent, type Entry, readAll } from '../tree/entry.ts';
import { comparePaths, directory, file, symlink, type Tree } from '../tree/tree.ts';
import type { Accounts } from './accounts.ts';

interface Action {
  /** Copies a file of the tree unless the target exists. */
  readonly copy?: string;
  /** Writes a file with this text unless it exists. */
  readonly text?: string;
  /** Creates a link with this target and replaces what exists. */
  readonly link?: string;
  /** Creates a directory unless it exists. */
  readonly folder?: true;
  /** Changes owner and mode of an existing entry. */
  readonly adjust?: true;
  readonly mode?: number;
  readonly user?: string;
  readonly group?: string;
}

const folder = (mode = 0o755, group?: string): Action => ({ folder: true, mode, ...(group ? { group } : {}) });

/** By package, then by path without a leading slash. */
const table: Readonly<Record<string, Readonly<Record<string, Action>>>> = {
  'base-files': {
    'etc/dpkg/origins/default': { link: 'debian' },
    'root/.profile': { copy: 'usr/share/base-files/dot.profile' },
    'root/.bashrc': { copy: 'usr/share/base-files/dot.bashrc' },
    'etc/profile': { copy: 'usr/share/base-files/profile' },
    'etc/motd': { copy: 'usr/share/base-files/motd' },
    mnt: folder(),
    srv: folder(),
    opt: folder(),
    'etc/opt': folder(),
    'var/opt': folder(),
    media: folder(),
    'var/mail': folder(0o2775, 'mail'),
    'var/spool/mail': { link: '../mail' },
    // The package ships both as directories.
    'var/run': { link: '/run' },
    'var/lock': { link: '/run/lock' },
    ...Object.fromEntries(
      ['', '/bin', '/etc', '/games', '/include', '/lib', '/libexec', '/sbin', '/share', '/share/man', '/src'].map(
        (name) => [`usr/local${name}`, folder()],
      ),
    ),
    'usr/local/man': { link: 'share/man' },
    'var/log/wtmp': { text: '', mode: 0o664, group: 'utmp' },
    'var/log/btmp': { text: '', mode: 0o660, group: 'utmp' },
    'var/log/lastlog': { text: '', mode: 0o664, group: 'utmp' },
  },
  'base-passwd': { 'etc/subuid': { text: '' }, 'etc/subgid': { text: '' } },
  'libc-bin': { 'etc/nsswitch.conf': { copy: 'usr/share/libc-bin/nsswitch.conf' } },
  'ca-certificates': { 'usr/local/share/ca-certificates': folder() },
  'dbus-daemon': { 'var/lib/dbus': folder(), 'var/lib/dbus/machine-id': { link: '/etc/machine-id' } },
  // A setuid helper that only the bus may start; the script registers it with dpkg-statoverride.
  dbus: { 'usr/lib/dbus-1.0/dbus-daemon-launch-helper': { adjust: true, mode: 0o4754, group: 'messagebus' } },
  fuse3: { 'usr/bin/fusermount3': { adjust: true, mode: 0o4755 } },
  kmod: {
    'etc/modules': {
      text: '# Kernel modules to load at boot, one per line. Nodes load none: the kernel is not theirs.\n',
    },
  },
  'libpam-modules': { 'etc/security/opasswd': { text: '', mode: 0o600 }, 'etc/environment': { text: '' } },
  login: { 'var/log/faillog': { text: '' } },
  'readline-common': { 'etc/inputrc': { copy: 'usr/share/readline/inputrc' } },
  netbase: {
    'etc/hosts': {
      text: '127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n\n',
    },
    'etc/networks': { text: 'default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n\n' },
  },
  'nfs-common': {
    'etc/idmapd.conf': { copy: 'usr/share/nfs-common/conffiles/idmapd.conf' },
    'etc/default/nfs-common': { copy: 'usr/share/nfs-common/conffiles/nfs-common.default' },
    'etc/nfs.conf': { copy: 'usr/share/nfs-common/conffiles/nfs.conf' },
    'var/lib/nfs/sm': { adjust: true, user: 'statd', group: 'nogroup' },
    'var/lib/nfs/sm.bak': { adjust: true, user: 'statd', group: 'nogroup' },
    'var/lib/nfs/state': { text: '', user: 'statd' },
  },
  // Empty: if it is missing, systemd assumes a first boot; and images must not share an id.
  systemd: {
    'etc/machine-id': { text: '', mode: 0o444 },
    'var/log/journal': folder(0o2755, 'systemd-journal'),
  },
  ucf: { 'var/lib/ucf/hashfile': { text: '' }, 'var/lib/ucf/registry': { text: '' } },
};

/** The entries for these packages; ids come from `accounts`. Entries that only change keep their owner. */
export function copies(tree: Tree, packages: readonly string[], accounts: Accounts, owner: string): Entry[] {
  const entries: Entry[] = [];
  for (const name of [...packages].sort(comparePaths)) {
    for (const [path, action] of Object.entries(table[name] ?? {})) {
      const existing = tree.lookup(path);
      const uid = accounts.users.get(action.user ?? 'root')?.uid ?? 0;
      const gid = accounts.groups.get(action.group ?? 'root')?.gid ?? 0;
      if (action.adjust) {
        if (existing) entries.push({ ...existing, uid, gid, mode: action.mode ?? existing.mode });
      } else if (action.link !== undefined) {
        entries.push(symlink(path, action.link, owner));
      } else if (existing) {
        // An existing file or folder is not changed.
      } else if (action.folder) {
        entries.push(directory(path, owner, action.mode, uid, gid));
      } else if (action.copy !== undefined) {
        const source = tree.file(action.copy);
        if (source) entries.push(file(path, source.content, owner, action.mode ?? source.mode, uid, gid));
      } else {
        entries.push(file(path, bytesContent(action.text ?? ''), owner, action.mode ?? 0o644, uid, gid));
      }
    }
  }
  return entries;
}

/**
 * The adjusted modes as dpkg-statoverride(1) records them; without that, an upgrade inside a node would restore the
 * packaged modes.
 */
export function statOverrides(packages: readonly string[]): string {
  const lines: string[] = [];
  for (const name of [...packages].sort(comparePaths))
    for (const [path, { adjust, mode, user = 'root', group = 'root' }] of Object.entries(table[name] ?? {}))
      if (adjust && mode !== undefined) lines.push(`${user} ${group} ${mode.toString(8)} /${path}\n`);
  return lines.join('');
}

/** `/etc/shells` as update-shells(8) creates it from registered shells, each also with its usr-merged name. */
export async function shellsFile(tree: Tree, owner: string): Promise<Entry[]> {
  const shells = new Set<string>();
  const sources = [...tree.values()].filter((e) => /^usr\/share\/debianutils\/shells(\.d\/[^/]+)?$/.test(e.path));
  for (const source of sources) {
    const found = tree.file(source.path);
    if (source.type === 'directory' || !found) continue;
    for (const line of (await readAll(found.content, 1 << 20)).toString('utf8').split('\n')) {
      const shell = line.trim();
      if (!shell.startsWith('/') || !tree.lookup(shell)) continue;
      shells.add(shell);
      shells.add(`/${tree.realPath(shell.slice(1))}`);
    }
  }
  if (shells.size === 0) return [];
  const text = `# /etc/shells: valid login shells\n${[...shells].sort(comparePaths).join('\n')}\n`;
  return [file('etc/shells', bytesContent(text), owner)];
}
