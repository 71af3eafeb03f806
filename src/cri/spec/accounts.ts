/** The user and groups of a container's first process: from the pod's settings, the image's settings and the image's accounts. */

import type { LinuxContainerSecurityContext } from '../api/messages.ts';
import { invalid, RpcError } from '../api/status.ts';

/** An image's /etc/passwd and /etc/group; empty if the file is missing. */
export interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

/** `user` of an OCI process. */
export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: number[];
  /** The home directory in the image's accounts, for HOME. */
  readonly home: string | undefined;
}

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

const lines = (text: string): string[][] =>
  text
    .split('\n')
    .filter((line) => line && !line.startsWith('#'))
    .map((line) => line.split(':'));

function accounts({ passwd }: AccountFiles): Account[] {
  return lines(passwd).map(([name = '', , uid, gid, , home = '']) => ({
    name,
    uid: Number(uid),
    gid: Number(gid),
    home,
  }));
}

const groups = ({ group }: AccountFiles) =>
  lines(group).map(([name = '', , gid, members = '']) => ({ name, gid: Number(gid), members: members.split(',') }));

const isNumber = (text: string): boolean => /^\d+$/.test(text);

type Wishes = Partial<
  Pick<
    LinuxContainerSecurityContext,
    'runAsUser' | 'runAsUsername' | 'runAsGroup' | 'supplementalGroups' | 'supplementalGroupsPolicy'
  >
>;

/**
 * The pod's user overrides the image's (`uid`, `name`, with `:gid` or `:group`). With the policy `Merge` the groups of
 * the image's accounts are added, with `Strict` only the requested groups. Throws when a name is not in the image.
 */
export function processUser(wishes: Wishes, imageUser: string, image: AccountFiles): ProcessUser {
  const { runAsUser, runAsUsername, runAsGroup } = wishes;
  if (runAsGroup && !runAsUser && !runAsUsername) throw invalid('run_as_group needs run_as_user or run_as_username');
  const asked = runAsUser ? String(runAsUser.value) : runAsUsername || undefined;
  const [user, group] = (asked ?? (imageUser || '0')).split(':') as [string, string?];
  const known = accounts(image).find((one) => (isNumber(user) ? one.uid === Number(user) : one.name === user));
  // Root exists even in an image without accounts.
  if (!known && !isNumber(user) && user !== 'root')
    throw new RpcError('FAILED_PRECONDITION', `the image has no user ${JSON.stringify(user)}`);
  const uid = known?.uid ?? (isNumber(user) ? Number(user) : 0);
  const gid = runAsGroup ? runAsGroup.value : group ? groupNumber(group, image) : (known?.gid ?? 0);
  const own =
    wishes.supplementalGroupsPolicy === 'Strict' || !known
      ? []
      : groups(image).filter(({ members }) => members.includes(known.name));
  const additional = [gid, ...own.map((one) => one.gid), ...(wishes.supplementalGroups ?? [])];
  return { uid, gid, additionalGids: [...new Set(additional)], home: known?.home };
}

function groupNumber(group: string, image: AccountFiles): number {
  if (isNumber(group)) return Number(group);
  const known = groups(image).find(({ name }) => name === group);
  if (known) return known.gid;
  throw new RpcError('FAILED_PRECONDITION', `the image has no group ${JSON.stringify(group)}`);
}
