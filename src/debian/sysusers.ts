/**
 * `sysusers.d` lines (sysusers.d(5)) as data: what accounts a package wants, without saying which ids they get.
 */
import { KinaError } from '../host/errors.ts';

/** A user with a group of its own name, unless `group` says otherwise. */
export interface UserWish {
  readonly name: string;
  readonly uid?: number;
  /** Number or name of the primary group. */
  readonly group?: number | string;
  readonly gecos?: string;
  readonly home?: string;
  readonly shell?: string;
  /** As in shadow(5); by default none works. */
  readonly password?: string;
  /** `u!`: the account is expired too, so that no way of logging in works. */
  readonly locked?: boolean;
}
export interface GroupWish {
  readonly name: string;
  readonly gid?: number;
}
export interface MemberWish {
  readonly user: string;
  readonly group: string;
}
export interface AccountWishes {
  readonly users: readonly UserWish[];
  readonly groups: readonly GroupWish[];
  readonly members: readonly MemberWish[];
}

/** Reads one file. Lines of type `r` (id ranges) change nothing here: ids are allocated from the default range. */
export function parseSysusers(text: string, from: string): AccountWishes {
  const users: UserWish[] = [];
  const groups: GroupWish[] = [];
  const members: MemberWish[] = [];
  for (const line of text.split('\n')) {
    const fields = words(line);
    const [type, name, id] = fields;
    if (!type || type.startsWith('#')) continue;
    switch (type) {
      case 'u':
      case 'u!': {
        const [uid, group] = (dash(id) ?? '').split(':');
        users.push({
          name: name as string,
          ...(uid && /^\d+$/.test(uid) ? { uid: Number(uid) } : {}),
          ...(group ? { group: /^\d+$/.test(group) ? Number(group) : group } : {}),
          ...optional('gecos', dash(fields[3])),
          ...optional('home', dash(fields[4])),
          ...optional('shell', dash(fields[5])),
          ...(type === 'u!' ? { locked: true } : {}),
        });
        break;
      }
      case 'g':
        groups.push({ name: name as string, ...(id && /^\d+$/.test(id) ? { gid: Number(id) } : {}) });
        break;
      case 'm':
        members.push({ user: name as string, group: id as string });
        break;
      case 'r':
        break;
      default:
        throw new KinaError('debian', `${from}: unknown sysusers.d line ${JSON.stringify(line)}`);
    }
  }
  return { users, groups, members };
}

const dash = (field: string | undefined) => (field === undefined || field === '-' ? undefined : field);

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: string });
}

/** Splits at white space; `"…"` and `'…'` hold fields together. */
function words(line: string): string[] {
  return [...line.trim().matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2] ?? (m[3] as string));
}
