/**
 * passwd, group and their shadow files: base-passwd's masters, then `sysusers.d`, then the accounts that maintainer
 * scripts create with `adduser`, then the recipe's users.
 *
 * Files in volumes keep numeric ids, so ids must not depend on which packages are installed: well-known system accounts
 * have the fixed numbers below, and only unknown ones are allocated, downwards like systemd-sysusers, in the order of
 * their names.
 */
import { KinaError } from '../host/errors.ts';
import { comparePaths } from '../tree/tree.ts';
import type { AccountRequests, GroupRequest, UserRequest } from './sysusers.ts';

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
  /** See shadow(5): `*` and `!*` allow no password. */
  readonly password: string;
  readonly locked?: boolean;
}
export interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: string[];
}

/**
 * Ids for accounts that packages request without a number. Debian leaves 100-999 to the machine; these match
 * systemd-sysusers on a fresh Debian 13 where possible, and never change.
 */
const wellKnown: Readonly<Record<string, number>> = {
  'systemd-journal': 999,
  'systemd-network': 998,
  messagebus: 997,
  'systemd-resolve': 996,
  'systemd-timesync': 995,
  input: 994,
  sgx: 993,
  clock: 992,
  kvm: 991,
  render: 990,
  'systemd-coredump': 989,
  'systemd-oom': 988,
  polkitd: 987,
  _rpc: 986,
  statd: 985,
  _chrony: 984,
  sshd: 983,
  _ssh: 982,
  tss: 981,
  tcpdump: 980,
};
const firstFree = 979;

/** Accounts that maintainer scripts create with `adduser` instead of `sysusers.d`, by package. */
const scripted: Readonly<Record<string, readonly UserRequest[]>> = {
  rpcbind: [{ name: '_rpc', group: 'nogroup', home: '/run/rpcbind' }],
  'nfs-common': [{ name: 'statd', group: 'nogroup', home: '/var/lib/nfs' }],
  chrony: [{ name: '_chrony', gecos: 'Chrony daemon', home: '/var/lib/chrony' }],
  'openssh-server': [{ name: 'sshd', group: 'nogroup', home: '/run/sshd' }],
  apt: [{ name: '_apt', uid: 42, group: 'nogroup', home: '/nonexistent' }],
  // tcpdump drops its privileges to this user once it has opened the interface.
  tcpdump: [{ name: 'tcpdump', home: '/nonexistent' }],
  'dbus-system-bus-common': [{ name: 'messagebus', home: '/nonexistent' }],
  haproxy: [{ name: 'haproxy', home: '/var/lib/haproxy' }],
};

/** The accounts that `adduser` would have created for these packages. */
export function scriptedAccounts(packages: readonly string[]): AccountRequests {
  return { users: packages.flatMap((name) => scripted[name] ?? []), groups: [], members: [] };
}

export class Accounts {
  readonly users = new Map<string, User>();
  readonly groups = new Map<string, Group>();
  readonly #uids = new Set<number>();
  readonly #gids = new Set<number>();

  /** Reads passwd(5) and group(5) texts, such as base-passwd's masters. */
  addMasters(passwd: string, group: string): void {
    for (const line of lines(passwd)) {
      const [name, password, uid, gid, gecos, home, shell] = line.split(':') as [string, ...string[]];
      if (shell === undefined) throw malformed('passwd', line);
      this.#putUser({
        name,
        uid: Number(uid),
        gid: Number(gid),
        gecos: gecos as string,
        home: home as string,
        shell,
        password: password as string,
      });
    }
    for (const line of lines(group)) {
      const [name, , gid, members] = line.split(':') as [string, ...string[]];
      if (members === undefined) throw malformed('group', line);
      this.#putGroup({ name, gid: Number(gid), members: members.split(',').filter((m) => m !== '') });
    }
  }

  /** Adds missing accounts, in the order of their names, so that the order of the requests does not matter. */
  addRequests(requests: readonly AccountRequests[]): void {
    const groups = merge<GroupRequest>(requests.flatMap((w) => w.groups));
    const users = merge<UserRequest>(requests.flatMap((w) => w.users));
    // Fixed numbers first, so that allocation never takes one that is requested by number.
    for (const group of groups) if (group.gid !== undefined) this.#addGroup(group);
    for (const user of users) if (user.uid !== undefined) this.#addUser(user);
    for (const group of groups) this.#addGroup(group);
    for (const user of users) this.#addUser(user);
    for (const { user, group } of requests.flatMap((w) => w.members)) {
      if (!this.users.has(user)) this.#addUser({ name: user });
      if (!this.groups.has(group)) this.#addGroup({ name: group });
      const { members } = this.groups.get(group) as Group;
      if (!members.includes(user)) members.push(user);
    }
  }

  /** The four files. `day`: days since 1970 for shadow's last change; 0 would force a password change, so it is omitted. */
  render(day: number): { passwd: string; group: string; shadow: string; gshadow: string } {
    const changed = day > 0 ? String(day) : '';
    const users = [...this.users.values()].sort((a, b) => a.uid - b.uid || comparePaths(a.name, b.name));
    const groups = [...this.groups.values()].sort((a, b) => a.gid - b.gid || comparePaths(a.name, b.name));
    const text = (rows: string[]) => rows.map((row) => `${row}\n`).join('');
    return {
      passwd: text(users.map((u) => `${u.name}:x:${u.uid}:${u.gid}:${u.gecos}:${u.home}:${u.shell}`)),
      group: text(groups.map((g) => `${g.name}:x:${g.gid}:${[...g.members].sort(comparePaths).join(',')}`)),
      shadow: text(users.map((u) => `${u.name}:${u.password}:${changed}:0:99999:7::${u.locked ? 1 : ''}:`)),
      gshadow: text(groups.map((g) => `${g.name}:*::${[...g.members].sort(comparePaths).join(',')}`)),
    };
  }

  #addGroup(request: GroupRequest): void {
    if (this.groups.has(request.name)) return;
    const gid = request.gid ?? this.#allocate(request.name);
    this.#putGroup({ name: request.name, gid, members: [] });
  }

  #addUser(request: UserRequest): void {
    if (this.users.has(request.name)) return;
    let gid: number;
    let { uid } = request;
    if (typeof request.group === 'number') gid = request.group;
    else if (request.group !== undefined) {
      if (!this.groups.has(request.group)) this.#addGroup({ name: request.group });
      gid = (this.groups.get(request.group) as Group).gid;
    } else {
      // Like systemd-sysusers: a group of the same name, with the same number if it is free.
      const own = this.groups.get(request.name)?.gid;
      if (own !== undefined && !this.#uids.has(own)) uid ??= own;
      uid ??= this.#allocate(request.name);
      if (own === undefined) this.#putGroup({ name: request.name, gid: uid, members: [] });
      gid = (this.groups.get(request.name) as Group).gid;
    }
    this.#putUser({
      name: request.name,
      uid: uid ?? this.#allocate(request.name),
      gid,
      gecos: request.gecos ?? '',
      home: request.home ?? '/',
      shell: request.shell ?? '/usr/sbin/nologin',
      password: request.password ?? '!*',
      ...(request.locked ? { locked: true } : {}),
    });
  }

  #allocate(name: string): number {
    const free = (id: number) => !this.#uids.has(id) && !this.#gids.has(id);
    const known = wellKnown[name];
    if (known !== undefined && free(known)) return known;
    for (let id = firstFree; id >= 100; id--) if (free(id)) return id;
    throw new KinaError('debian', `no free system id for ${name}`);
  }

  #putUser(user: User): void {
    if (!Number.isSafeInteger(user.uid) || !Number.isSafeInteger(user.gid)) throw malformed('passwd', user.name);
    this.users.set(user.name, user);
    this.#uids.add(user.uid);
  }

  #putGroup(group: Group): void {
    if (!Number.isSafeInteger(group.gid)) throw malformed('group', group.name);
    this.groups.set(group.name, group);
    this.#gids.add(group.gid);
  }
}

/** Merges the requests for each name, sorted by name; explicit values win over missing ones. */
function merge<T extends { readonly name: string }>(requests: readonly T[]): T[] {
  const byName = new Map<string, T>();
  for (const request of requests) byName.set(request.name, { ...request, ...byName.get(request.name) });
  return [...byName.values()].sort((a, b) => comparePaths(a.name, b.name));
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

function malformed(file: string, line: string): KinaError {
  return new KinaError('debian', `invalid ${file} line: ${JSON.stringify(line)}`);
}
