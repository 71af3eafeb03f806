/**
 * dpkg's database after installing packages: `status`, and per package the file list and the control files. Everything
 * comes from the packages themselves, so a locked build needs no index. Format: dpkg's doc/ and lib/dpkg/dump.c, format
 * version 1.
 */
import { bytesContent, type Entry } from '../tree/entry.ts';
import { comparePaths, directory, file } from '../tree/tree.ts';
import { type InstalledPackage, infoName } from './deb.ts';
import { type PruneRule, pruneConfiguration } from './prune.ts';

const admin = 'var/lib/dpkg';

/** The files below `/var/lib/dpkg`, and dpkg's configuration of the pruning rules. */
export function dpkgDatabase(
  packages: readonly InstalledPackage[],
  architecture: string,
  prune: readonly PruneRule[],
  owner: string,
  statOverrides = '',
): Entry[] {
  const sorted = [...packages].sort((a, b) => comparePaths(a.name, b.name));
  const text = (path: string, content: string | Uint8Array, mode = 0o644) =>
    file(`${admin}/${path}`, bytesContent(content), owner, mode);
  const entries: Entry[] = [
    directory(`${admin}/updates`, owner),
    directory(`${admin}/parts`, owner),
    text('available', ''),
    text('diversions', ''),
    text('statoverride', statOverrides),
    text('lock', '', 0o640),
    text('lock-frontend', '', 0o640),
    text('arch-native', `${architecture}\n`),
    text('info/format', '1\n'),
    text('status', sorted.map(statusStanza).join('\n')),
    text('triggers/Lock', '', 0o600),
    text('triggers/Unincorp', ''),
    ...triggerFiles(sorted).map(([path, content]) => text(path, content)),
  ];
  for (const installed of sorted) {
    const base = `info/${infoName(installed)}`;
    entries.push(text(`${base}.list`, installed.paths.map((path) => `${path}\n`).join('')));
    for (const [name, content] of installed.members)
      entries.push(text(`${base}.${name}`, content, scripts.has(name) ? 0o755 : 0o644));
  }
  if (prune.length > 0) entries.push(file('etc/dpkg/dpkg.cfg.d/kina', bytesContent(pruneConfiguration(prune)), owner));
  return entries;
}

const scripts: ReadonlySet<string> = new Set(['preinst', 'postinst', 'prerm', 'postrm', 'config']);

/** The control stanza with `Status` in second place, and the digests of configuration files before the description. */
function statusStanza(installed: InstalledPackage): string {
  const conffiles = [...installed.conffiles].map(([path, md5]) => `\n ${path} ${md5}`).join('');
  let out = '';
  for (const [name, value] of installed.fields) {
    if (name === 'Description' && conffiles) out += `Conffiles:${conffiles}\n`;
    out += value.startsWith('\n') ? `${name}:${value}\n` : `${name}: ${value}\n`;
    if (name === 'Package') out += 'Status: install ok installed\n';
  }
  return out;
}

/** What packages are interested in (deb-triggers(5)): paths in `triggers/File`, names in one file each. */
function triggerFiles(packages: readonly InstalledPackage[]): [string, string][] {
  const files: string[] = [];
  const names = new Map<string, string[]>();
  for (const installed of packages) {
    for (const line of (installed.members.get('triggers')?.toString('utf8') ?? '').split('\n')) {
      const [directive, trigger] = line.replace(/#.*/, '').trim().split(/\s+/);
      if (!trigger || !/^interest(?:-await|-noawait)?$/.test(directive ?? '')) continue;
      const interested = `${infoName(installed)}${directive === 'interest-noawait' ? '/noawait' : ''}`;
      if (trigger.startsWith('/')) files.push(`${trigger} ${interested}\n`);
      else names.set(trigger, [...(names.get(trigger) ?? []), `${interested}\n`]);
    }
  }
  return [
    ['triggers/File', files.sort(comparePaths).join('')],
    ...[...names]
      .sort(([a], [b]) => comparePaths(a, b))
      .map(([n, w]) => [`triggers/${n}`, w.join('')] as [string, string]),
  ];
}
