/**
 * What may differ between kina's tree and the one that dpkg, apt and the packages' scripts make, and why. Where two texts
 * only look different, the rule says what of them must be equal, and that is checked.
 */
import type { Difference } from './tree.ts';

/** `unpacked`: no scripts on either side; `configured`: mmdebstrap has run them, kina has derived what they do. */
export type Variant = 'unpacked' | 'configured';

export interface Rule {
  /** For people; unique. */
  readonly where: string;
  /** In one of them only. */
  readonly variant?: Variant;
  readonly path: RegExp;
  readonly what: readonly Difference['what'][];
  /** For `content`: what of a text counts; equal on both sides. */
  readonly counts?: (text: string) => string;
  readonly why: string;
}

const lines = (text: string) => text.split('\n').map((line) => line.trimEnd());
const sorted = (text: string) => lines(text).filter(Boolean).sort().join('\n');
const sayings = (text: string) => sorted(text.replace(/^#.*$/gm, ''));
/** Second field of passwd and group: `x` says that the password is in a shadow file. */
const accounts = (text: string) => sorted(text.replace(/^([^:]+):[*x]:/gm, '$1:'));
const stanzas = (text: string) =>
  lines(text.trim())
    .join('\n')
    .split('\n\n')
    .map((stanza) =>
      stanza
        .split(/\n(?! )/)
        .sort()
        .join('\n'),
    )
    .sort()
    .join('\n\n');
const withoutManuals = (text: string) =>
  lines(text)
    .filter((line) => line && !/\/man\/|\.\d\.gz$|^which\.\w+\.gz$/.test(line))
    .join('\n');

export const rules: readonly Rule[] = [
  {
    where: '/dev',
    path: /^dev\//,
    what: ['only mmdebstrap'],
    why: 'device nodes; every runtime mounts its own /dev',
  },
  {
    where: '/etc/apt, /var/{cache,lib,log}/apt',
    path: /^(etc\/apt|var\/(cache|lib|log)\/apt)(\/|$)/,
    what: ['only mmdebstrap'],
    why: 'mmdebstrap downloads with apt inside the tree; these packages do not include apt',
  },
  {
    where: '/etc/hostname, /etc/resolv.conf, /etc/fstab',
    path: /^etc\/(hostname|resolv\.conf|fstab)$/,
    what: ['only mmdebstrap'],
    why: 'copied from the host by mmdebstrap; the runtime provides those of a node',
  },
  {
    where: '/var/lib/dpkg/arch',
    path: /^var\/lib\/dpkg\/arch$/,
    what: ['only mmdebstrap'],
    why: 'written by `dpkg --add-architecture`; without it, dpkg uses its own architecture',
  },
  {
    where: '/var/lib/dpkg/{status,triggers}',
    variant: 'unpacked',
    path: /^var\/lib\/dpkg\/(status|triggers)$/,
    what: ['only mmdebstrap'],
    why: 'the empty database that mmdebstrap starts with; kina writes it in the step `system`',
  },
  {
    where: '/etc/passwd, /etc/group',
    variant: 'configured',
    path: /^etc\/(passwd|group)$/,
    what: ['content'],
    counts: accounts,
    why: 'the same accounts, in numerical order; `x` instead of `*`, because passwords are always in shadow files',
  },
  {
    where: '/etc/shadow, /etc/gshadow',
    variant: 'configured',
    path: /^etc\/g?shadow$/,
    what: ['content', 'mode', 'gid'],
    why: 'without the package passwd, only systemd-sysusers writes them, with only its own accounts; kina writes all accounts, readable by the group shadow, as with passwd',
  },
  {
    where: '/etc/passwd-, /etc/group-, /etc/.pwd.lock',
    variant: 'configured',
    path: /^etc\/((passwd|group|shadow|gshadow)-|\.pwd\.lock)$/,
    what: ['only mmdebstrap'],
    why: 'backups and a lock file left by programs',
  },
  {
    where: '/etc/ca-certificates.conf, /etc/modules',
    variant: 'configured',
    path: /^etc\/(ca-certificates\.conf|modules)$/,
    what: ['content'],
    counts: sayings,
    why: 'comments',
  },
  {
    where: '/etc/shells',
    variant: 'configured',
    path: /^etc\/shells$/,
    what: ['content'],
    counts: sayings,
    why: 'order: sorted instead of the order of installation',
  },
  {
    where: '/etc/machine-id',
    variant: 'configured',
    path: /^etc\/machine-id$/,
    what: ['mode'],
    why: 'empty in both; kina uses 0444, like systemd-machine-id-setup',
  },
  {
    where: '/etc/systemd/system/*.wants, deb-systemd-helper-enabled',
    variant: 'configured',
    path: /^(etc\/systemd\/(system|user)\/[^/]+\.wants|var\/lib\/systemd\/deb-systemd-helper-enabled)(\/|$)/,
    what: ['only mmdebstrap'],
    why: 'no unit is enabled unless the recipe enables it',
  },
  {
    where: '/etc/rc?.d',
    variant: 'configured',
    path: /^etc\/rc[0-6S]\.d\//,
    what: ['only mmdebstrap'],
    why: 'links for System V init; systemd has units for these services',
  },
  {
    where: 'what tmpfiles.d names',
    variant: 'configured',
    path: /^(etc\/(mtab|default\/locale)|root\/\.ssh|run\/lock(\/subsys)?|var\/(cache|lib|log)\/private|var\/log\/README|var\/lib\/systemd\/(coredump|ephemeral-trees|network|pstore))$/,
    what: ['only mmdebstrap'],
    why: 'created by systemd-tmpfiles at every boot',
  },
  {
    where: '/etc/credstore*, /var/log/journal',
    variant: 'configured',
    path: /^(etc\/credstore(\.encrypted)?|var\/log\/journal)$/,
    what: ['mode', 'xattrs'],
    why: 'systemd-tmpfiles sets mode and ACLs at every boot',
  },
  {
    where: '/etc/vconsole.conf',
    variant: 'configured',
    path: /^etc\/vconsole\.conf$/,
    what: ['only mmdebstrap'],
    why: 'a dangling link to the keyboard settings of a console, which nodes do not have',
  },
  {
    where: 'alternatives of manual pages',
    variant: 'configured',
    path: /^(etc\/alternatives\/.+\.gz|usr\/share\/man\/.+\.gz|var\/lib\/dpkg\/alternatives\/builtins\.7\.gz)$/,
    what: ['only mmdebstrap'],
    why: 'manual pages and the links to them are pruned from images',
  },
  {
    where: '/var/lib/dpkg/alternatives',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/alternatives\//,
    what: ['content'],
    counts: withoutManuals,
    why: 'the same alternatives, without those manual pages',
  },
  {
    where: '/var/cache/debconf',
    variant: 'configured',
    path: /^var\/cache\/debconf\//,
    what: ['only mmdebstrap'],
    why: 'questions asked by scripts, which kina does not run',
  },
  {
    where: '/var/lib/dpkg/info/*.list',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/info\/.+\.list$/,
    what: ['content'],
    counts: sorted,
    why: 'order: sorted instead of the order of the archive',
  },
  {
    where: '/var/lib/dpkg/status',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/status$/,
    what: ['content'],
    counts: stanzas,
    why: 'order of fields: kina keeps the order of the control file, dpkg uses its own and keeps trailing white space',
  },
  {
    where: '/var/lib/dpkg/triggers/File',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/triggers\/File$/,
    what: ['content'],
    counts: sorted,
    why: 'order',
  },
  {
    where: '/var/lib/dpkg/diversions',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/diversions$/,
    what: ['content'],
    why: 'protect files of packages during the merge of /usr; in a merged tree they have no effect',
  },
  {
    where: '/var/lib/dpkg/{available,statoverride,arch-native}',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/(available|statoverride|arch-native)$/,
    what: ['only kina'],
    why: 'empty, or written by newer versions of dpkg and not read by older ones',
  },
  {
    where: '/var/lib/dpkg/*-old',
    variant: 'configured',
    path: /^var\/lib\/dpkg\/(status|diversions|statoverride)-old$/,
    what: ['only mmdebstrap'],
    why: 'backups of the database',
  },
  {
    where: '/var/lib/shells.state',
    variant: 'configured',
    path: /^var\/lib\/shells\.state$/,
    what: ['only mmdebstrap'],
    why: 'the state of update-shells, which creates it again when it runs in a node',
  },
  {
    where: '/var/lib/systemd/catalog',
    variant: 'configured',
    path: /^var\/lib\/systemd\/catalog(\/database)?$/,
    what: ['only mmdebstrap'],
    why: 'explanations for `journalctl -x`, created by `journalctl --update-catalog`',
  },
  {
    where: '/usr/share/info/dir',
    variant: 'configured',
    path: /^usr\/share\/info\/dir$/,
    what: ['only mmdebstrap'],
    why: 'an index of manuals, which are pruned from images',
  },
  {
    where: '/usr/bin/gunzip, /usr/bin/uncompress',
    variant: 'configured',
    path: /^usr\/bin\/(gunzip|uncompress)$/,
    what: ['names'],
    why: 'one file with two names in the package of Debian 12; mmdebstrap unpacks essential packages twice, which results in two files',
  },
  {
    where: '/usr/local/libexec',
    variant: 'configured',
    path: /^usr\/local\/libexec$/,
    what: ['only kina'],
    why: 'created by base-files since Debian 13; kina creates it for Debian 12 as well',
  },
];

/** The rule that explains a difference. */
export function ruleFor(difference: Difference, variant: Variant): Rule | undefined {
  return rules.find((rule) => {
    if ((rule.variant ?? variant) !== variant || !rule.path.test(difference.path)) return false;
    if (!rule.what.includes(difference.what)) return false;
    if (difference.what !== 'content' || !rule.counts) return true;
    const [ours, theirs] = difference.texts ?? [];
    return ours !== undefined && theirs !== undefined && rule.counts(ours) === rule.counts(theirs);
  });
}
