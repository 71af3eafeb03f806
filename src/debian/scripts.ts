/**
 * Audits maintainer scripts. kina runs none of them, so it has to know what they would do: the commands in a script that
 * change a system are compared with the table of commands that were reviewed and, where they matter, replaced for that
 * package. A package that is not in the table, or a new version with a new command, is reported for review.
 */
import type { InstalledPackage } from './deb.ts';

/**
 * Reviewed commands per package: replaced natively (accounts, alternatives, copies, certificates, pam, ld.so.cache) or
 * without effect on a first installation (cleanup after old versions, diversions of merged /usr).
 */
const judged: Readonly<Record<string, string>> = {
  adduser: 'mv',
  apt: 'adduser rm',
  'base-files': 'chmod chown cp dpkg-divert install ln mkdir rm rmdir',
  'base-passwd': 'cat chmod chown cp rm touch update-passwd',
  bash: 'ln update-alternatives',
  'ca-certificates': 'cat chgrp chmod chown dpkg-statoverride mkdir mv rm update-ca-certificates',
  coreutils: 'ln touch',
  dash: 'cp dpkg-divert ln mv rm touch',
  dbus: 'dpkg-statoverride touch',
  'dbus-daemon': 'dbus-uuidgen mkdir',
  'dbus-system-bus-common': 'adduser',
  debianutils: 'cp update-alternatives',
  dmsetup: 'update-initramfs',
  dpkg: 'ln mv systemctl',
  e2fsprogs: 'rm update-initramfs',
  fuse3: 'chmod dpkg-divert dpkg-statoverride update-initramfs',
  gzip: 'dpkg-divert',
  haproxy: 'adduser',
  'init-system-helpers': 'dpkg-divert ln rm',
  iproute2: 'mv rmdir setcap',
  iptables: 'update-alternatives',
  kmod: 'cat chmod rm update-rc.d',
  less: 'update-alternatives',
  'libc-bin': 'cp ldconfig',
  libc6: 'dpkg-divert install ln mkdir rm systemctl touch',
  libext2fs2t64: 'dpkg-divert',
  'libgssapi-krb5-2': 'cp',
  'libpam-modules': 'pam-auth-update touch',
  'libpam-runtime': 'pam-auth-update rm',
  libpam0g: 'systemctl',
  libselinux1: 'rm',
  libtirpc3t64: 'dpkg-divert',
  libwrap0: 'cat',
  login: 'chmod chown touch',
  'login.defs': 'mv',
  netbase: 'cat mkdir',
  'netcat-openbsd': 'update-alternatives',
  'nfs-common': 'adduser chown dpkg-divert ln mkdir mv rm touch ucf update-rc.d',
  openssl: 'ln',
  passwd: 'groupadd shadowconfig',
  perl: 'update-alternatives',
  procps: 'mv rm update-alternatives update-rc.d',
  python3: 'cat mkdir py3compile rm update-alternatives',
  'python3-minimal': 'py3compile',
  'python3.11-minimal': 'chmod chown mkdir rm rmdir touch',
  'python3.13-minimal': 'chmod chown mkdir rm rmdir touch',
  'readline-common': 'cp',
  rpcbind: 'adduser',
  systemd: 'install mkdir mv rm rmdir systemctl systemd-machine-id-setup touch',
  'systemd-sysv': 'dpkg-divert ln',
  tar: 'update-alternatives',
  tcpdump: 'addgroup adduser rm',
  ucf: 'cp touch',
  usrmerge: 'rm rmdir',
  'util-linux': 'update-alternatives',
};

const commands =
  /(?<!=\s*)(?<=^|[\s;&|({`])(?:\/(?:usr\/)?s?bin\/)?(adduser|addgroup|useradd|groupadd|usermod|update-alternatives|update-passwd|ucf|setcap|chown|chmod|chgrp|ln|cp|mv|rm|rmdir|mkdir|touch|install|dpkg-statoverride|dpkg-divert|ldconfig|py3compile|pycompile|update-ca-certificates|pam-auth-update|shadowconfig|systemctl|systemd-hwdb|udevadm|update-initramfs|update-rc\.d|dbus-uuidgen|systemd-machine-id-setup|openssl|ssh-keygen|cat)(?=\s)/gm;

/** The commands in a script that change a system, sorted; debhelper's generated sections are known and skipped. */
export function scriptCommands(script: string): string[] {
  const own = script
    .replace(/# Automatically added by [\s\S]*?# End automatically added section\n?/g, '')
    .replace(/^\s*#.*$/gm, '')
    .replace(/\\\n/g, ' ')
    // `cat` counts only if it writes a file.
    .replace(/\bcat\b(?![^\n]*>\s*[^&\s])/g, '');
  return [...new Set([...own.matchAll(commands)].map((match) => match[1] as string))].sort();
}

/** One line per package with a script that was not reviewed: `foo 1.2-3 postinst: chown, setcap`. */
export function unknownScripts(packages: readonly InstalledPackage[]): string[] {
  const lines: string[] = [];
  for (const { name, version, members } of packages) {
    const known = new Set((judged[name] ?? '').split(' '));
    for (const kind of ['preinst', 'postinst']) {
      const script = members.get(kind)?.toString('utf8');
      const unknown = script === undefined ? [] : scriptCommands(script).filter((command) => !known.has(command));
      if (unknown.length > 0) lines.push(`${name} ${version} ${kind}: ${unknown.join(', ')}`);
    }
  }
  return lines.sort();
}
