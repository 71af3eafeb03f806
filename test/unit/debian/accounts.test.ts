import { expect, test } from 'vitest';
import { Accounts } from '../../../src/debian/accounts.ts';
import { parseSysusers } from '../../../src/debian/sysusers.ts';

const passwd =
  'root:*:0:0:root:/root:/bin/bash\nmail:*:8:8:mail:/var/mail:/usr/sbin/nologin\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n';
const group = 'root:*:0:\nmail:*:8:\nshadow:*:42:\nnogroup:*:65534:\n';

function accounts(...files: string[]): Accounts {
  const result = new Accounts();
  result.addMasters(passwd, group);
  result.addRequests(files.map((text, i) => parseSysusers(text, `${i}.conf`)));
  return result;
}
const line = (text: string, name: string) => text.split('\n').find((l) => l.startsWith(`${name}:`));

test('ids do not depend on who asks first', () => {
  const a = 'u zeta - "Z"\n';
  const b = 'u alpha -\ng beta - -\n';
  expect(accounts(a, b).render(1)).toEqual(accounts(b, a).render(1));
});

test('well-known accounts keep their number whatever else is there', () => {
  const { passwd } = accounts('u aaa -\n', 'u messagebus - "Bus" /nonexistent\n', 'g systemd-journal -\n').render(1);
  expect(line(passwd, 'messagebus')).toBe('messagebus:x:997:997:Bus:/nonexistent:/usr/sbin/nologin');
});

test('sysusers.d: quoting, uid:gid, group by name, members, locked accounts, comments', () => {
  const { passwd, group, shadow } = accounts(
    '# comment\nu _apt 42:65534 - /nonexistent\nu! net 998 "Net Work"\nu svc -:mail - /srv /bin/sh\nm net mail\nr - 500-900\n',
  ).render(20000);
  expect(line(passwd, '_apt')).toBe('_apt:x:42:65534::/nonexistent:/usr/sbin/nologin');
  expect(line(passwd, 'svc')).toMatch(/^svc:x:\d+:8::\/srv:\/bin\/sh$/);
  expect(line(group, 'mail')).toBe('mail:x:8:net');
  expect(line(shadow, 'net')).toBe('net:!*:20000:0:99999:7::1:');
});

test('a user does not take the id of a group of a different user', () => {
  // _apt is user 42 while group 42 is shadow: an allocated id must be free in both lists.
  const { passwd } = accounts(
    `${Array.from({ length: 20 }, (_, i) => `g taken${i} ${979 - i}`).join('\n')}\nu x -\n`,
  ).render(1);
  expect(line(passwd, 'x')).toMatch(/^x:x:959:959:/);
});

test('day 0 is left out: it would mean "change the password at the next login"', () => {
  expect(line(accounts().render(0).shadow, 'root')).toBe('root:*::0:99999:7:::');
});

test('masters win over a sysusers.d line of the same name', () => {
  expect(line(accounts('u root 5 - /x\n').render(1).passwd, 'root')).toBe('root:x:0:0:root:/root:/bin/bash');
});

test('an unknown line type is an error, not a silence', () => {
  expect(() => parseSysusers('x foo', 'x.conf')).toThrow(/x\.conf/);
});
