/**
 * The result of `update-alternatives --install` in maintainer scripts: the link, `/etc/alternatives`, and the state in
 * `/var/lib/dpkg/alternatives`, without which `update-alternatives --set iptables …` inside a node fails.
 *
 * The table lists what each package registers (from its postinst); an option counts if its file is in the tree. Manual
 * pages, which most alternatives have as slaves, are pruned with the documentation and omitted.
 */
import { bytesContent, type Entry } from '../tree/entry.ts';
import { comparePaths, file, symlink, type Tree } from '../tree/tree.ts';

interface Registration {
  readonly name: string;
  readonly link: string;
  readonly path: string;
  readonly priority: number;
  /** Slave name to [link, path]. */
  readonly slaves?: Readonly<Record<string, readonly [link: string, path: string]>>;
}

const table: Readonly<Record<string, readonly Registration[]>> = {
  mawk: [awk('/usr/bin/mawk', 5)],
  'original-awk': [awk('/usr/bin/original-awk', 0)],
  gawk: [awk('/usr/bin/gawk', 10)],
  debianutils: [simple('which', '/usr/bin/which', '/usr/bin/which.debianutils', 0)],
  tar: [simple('rmt', '/usr/sbin/rmt', '/usr/sbin/rmt-tar', 50)],
  'util-linux': [simple('pager', '/usr/bin/pager', '/bin/more', 50)],
  less: [simple('pager', '/usr/bin/pager', '/usr/bin/less', 77)],
  nano: [simple('editor', '/usr/bin/editor', '/bin/nano', 40), simple('pico', '/usr/bin/pico', '/bin/nano', 10)],
  'vim-tiny': ['vi', 'view', 'ex', 'rview', 'editor'].map((name) =>
    simple(name, `/usr/bin/${name}`, '/usr/bin/vim.tiny', 15),
  ),
  'netcat-openbsd': [
    {
      name: 'nc',
      link: '/bin/nc',
      path: '/bin/nc.openbsd',
      priority: 50,
      slaves: { netcat: ['/bin/netcat', '/bin/nc.openbsd'] },
    },
  ],
  'xz-utils': [
    {
      name: 'lzma',
      link: '/usr/bin/lzma',
      path: '/usr/bin/xz',
      priority: 20,
      slaves: Object.fromEntries(
        ['unlzma:unxz', 'lzcat:xzcat', 'lzmore:xzmore', 'lzless:xzless', 'lzdiff:xzdiff', 'lzcmp:xzcmp']
          .concat(['lzgrep:xzgrep', 'lzegrep:xzegrep', 'lzfgrep:xzfgrep'])
          .map((pair) => pair.split(':') as [string, string])
          .map(([name, target]) => [name, [`/usr/bin/${name}`, `/usr/bin/${target}`]] as const),
      ),
    },
  ],
  // Legacy before nft, as in the script: the order of options in the state file.
  iptables: [
    xtables('iptables', 'legacy', 10),
    xtables('ip6tables', 'legacy', 10),
    xtables('iptables', 'nft', 20),
    xtables('ip6tables', 'nft', 20),
    xtables('arptables', 'nft', 20),
    xtables('ebtables', 'nft', 20),
  ],
  arptables: [xtables('arptables', 'legacy', 10)],
  ebtables: [xtables('ebtables', 'legacy', 10)],
};

/** Links and state files for the alternatives of these packages. */
export function alternatives(tree: Tree, packages: readonly string[], owner: string): Entry[] {
  const groups = new Map<string, Registration[]>();
  for (const registration of [...packages].sort(comparePaths).flatMap((name) => table[name] ?? [])) {
    if (!tree.lookup(registration.path)) continue;
    groups.set(registration.name, [...(groups.get(registration.name) ?? []), registration]);
  }
  const entries: Entry[] = [];
  for (const [name, options] of groups) {
    const best = options.reduce((a, b) => (b.priority > a.priority ? b : a));
    const links = [[name, best.link, best.path], ...slavesOf(best).map(([n, [l, p]]) => [n, l, p])] as [
      string,
      string,
      string,
    ][];
    for (const [member, link, path] of links) {
      if (!tree.lookup(path)) continue;
      entries.push(symlink(`etc/alternatives/${member}`, path, owner));
      entries.push(symlink(tree.realPath(link.slice(1)), `/etc/alternatives/${member}`, owner));
    }
    entries.push(file(`var/lib/dpkg/alternatives/${name}`, bytesContent(stateFile(options)), owner));
  }
  return entries;
}

/** dpkg's own format (update-alternatives.c): status, link, slaves, empty line, then every option. */
function stateFile(options: readonly Registration[]): string {
  const slaves = new Map(options.flatMap((option) => slavesOf(option).map(([name, [link]]) => [name, link] as const)));
  const names = [...slaves.keys()].sort(comparePaths);
  const lines = ['auto', (options[0] as Registration).link];
  for (const name of names) lines.push(name, slaves.get(name) as string);
  lines.push('');
  for (const option of [...options].sort((a, b) => comparePaths(a.path, b.path))) {
    lines.push(option.path, String(option.priority));
    for (const name of names) lines.push(option.slaves?.[name]?.[1] ?? '');
  }
  return `${lines.join('\n')}\n\n`;
}

function slavesOf(registration: Registration): [string, readonly [string, string]][] {
  return Object.entries(registration.slaves ?? {});
}

function simple(name: string, link: string, path: string, priority: number): Registration {
  return { name, link, path, priority };
}

function awk(path: string, priority: number): Registration {
  return { name: 'awk', link: '/usr/bin/awk', path, priority, slaves: { nawk: ['/usr/bin/nawk', path] } };
}

function xtables(name: string, variant: string, priority: number): Registration {
  const slave = (verb: string) => [`/usr/sbin/${name}-${verb}`, `/usr/sbin/${name}-${variant}-${verb}`] as const;
  return {
    name,
    link: `/usr/sbin/${name}`,
    path: `/usr/sbin/${name}-${variant}`,
    priority,
    slaves: { [`${name}-restore`]: slave('restore'), [`${name}-save`]: slave('save') },
  };
}
