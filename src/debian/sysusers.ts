/**
 * Parses `sysusers.d` lines (sysusers.d(5)): the accounts that a package requests, without ids.
 */
import { KinaError } from '../host/errors.ts';

/** A user with a group of the same name, unless `group` is set. */
export interface UserRequest {
  readonly name: string;
  readonly uid?: number;
  /** Number or name of the primary group. */
  readonly group?: number | string;
  readonly gecos?: string;
  readonly home?: string;
  readonly shell?: string;
  /** See shadow(5); by default no password works. */
  readonly password?: string;
  /** `u!`: the account is expired as well, which blocks every way to log in. */
  readonly locked?: boolean;
}
export interface GroupRequest {
  readonly name: string;
  readonly gid?: number;
}
export interface MemberRequest {
  readonly user: string;
  readonly group: string;
}
export interface AccountRequests {
  readonly users: readonly UserRequest[];
  readonly groups: readonly GroupRequest[];
  readonly members: readonly MemberRequest[];
}

/** Parses one file. Lines of type `r` (id ranges) are ignored: ids are allocated from the default range. */
export function parseSysusers(text: string, from: string): AccountRequests {
  const users: UserRequest[] = [];
  const groups: GroupRequest[] = [];
  const members: MemberRequest[] = [];
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

/** Splits at white space; `"…"` and `'…'` quote fields. */
function words(line: string): string[] {
  return [...line.trim().matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2] ?? (m[3] as string));
}
