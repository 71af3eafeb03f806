/** What is done to a kubeconfig as text, which files there are, and the lock. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { clusterKubeconfig } from '../../../src/cluster/kubeconfig/admin.ts';
import { kubeconfigText, mergeInto, parseKubeconfig, removeFrom } from '../../../src/cluster/kubeconfig/document.ts';
import { temporaryName, withLocks } from '../../../src/cluster/kubeconfig/lock.ts';
import { kubeconfigDestination, kubeconfigPaths } from '../../../src/cluster/kubeconfig/paths.ts';
import { adminConf } from '../../integration/kubeconfig/admin-conf.ts';

const ours = clusterKubeconfig(adminConf, { name: 'kina-a', server: 'https://127.0.0.1:40001' });
const edited = (text: string, change: (config: ReturnType<typeof parseKubeconfig>) => unknown): string => {
  const config = parseKubeconfig(text, 'FILE');
  change(config);
  return kubeconfigText(config);
};
const merged = (text: string, by = ours) => edited(text, (config) => mergeInto(config, parseKubeconfig(by, 'OURS')));

describe('admin.conf', () => {
  test('becomes one cluster, user and context under our name, credentials inside', () => {
    const before = parse(adminConf);
    const { clusters, contexts, users, ...rest } = parse(ours);
    expect(clusters).toEqual([
      { name: 'kina-a', cluster: { ...before.clusters[0].cluster, server: 'https://127.0.0.1:40001' } },
    ]);
    expect(contexts).toEqual([{ name: 'kina-a', context: { cluster: 'kina-a', user: 'kina-a' } }]);
    expect(users).toEqual([{ ...before.users[0], name: 'kina-a' }]);
    expect(rest).toEqual({ apiVersion: 'v1', kind: 'Config', preferences: {}, 'current-context': 'kina-a' });
  });

  test.each([
    [
      'two users',
      adminConf.replace('users:\n', 'users:\n- name: other\n  user: {}\n'),
      'expected one entry in users, got 2',
    ],
    ['none', 'apiVersion: v1\nkind: Config\n', 'expected one entry in clusters, got 0'],
    ['a context about something else', adminConf.replace('cluster: kubernetes\n', 'cluster: other\n'), 'other'],
    ['a key that stayed in the node', adminConf.replace(/client-key-data: .*/, 'client-key: /k.pem'), 'client-key'],
    ['an error message', 'cat: /etc/kubernetes/admin.conf: No such file or directory', 'not a kubeconfig'],
  ])('is refused: %s', (_what, text, reason) => {
    expect(() => clusterKubeconfig(text, { name: 'n', server: 's' })).toThrow(reason);
  });
});

describe('merging', () => {
  const mine = `# work, do not touch
apiVersion: v1
kind: Config
preferences: {colors: true}
x-team: {on-call: 'no'} # ours
current-context: "work" # the default
contexts:
    # staging is expensive
    - name: work
      context: {cluster: work, user: me, namespace: dev}
    - name: kina-a # local
      context:
        cluster: elsewhere
        user: kina-a
        namespace: old
    - context: {cluster: last, user: me}
      name: last
clusters:
    - name: kina-a
      x-note: mine
      cluster:
        # the port changes
        server: https://127.0.0.1:39999 # local
        insecure-skip-tls-verify: true
    - {name: work, cluster: {server: https://work.example.org, extensions: [{name: e, extension: {n: 12345678901234567890}}]}}
users: [] # from the vault
`;

  test('keeps comments, order, unknown fields and quotes; replaces namesakes where they stand', () => {
    const result = merged(mine);
    const lines = (text: string) => text.split('\n').map((line) => line.trim());
    const gone = ['cluster: elsewhere', 'namespace: old', 'server: https://127.0.0.1:39999 # local'];
    const kept = lines(mine).filter((line) => ![...gone, 'insecure-skip-tls-verify: true'].includes(line));
    const normal = (line: string) => line.replace(/[{}[\] ]/g, '').replace('"work"', '"kina-a"');
    const found = lines(result).map(normal);
    let at = -1;
    for (const line of kept.map(normal)) {
      // The list of users is no longer empty, its comment is there all the same.
      const wanted = line === 'users:#fromthevault' ? 'users:' : line;
      const next = found.indexOf(wanted, at + (wanted === '' ? 0 : 1));
      expect(next, `${line} in\n${result.replace(/x{20,}|[A-Za-z0-9=]{200,}/g, 'DATA')}`).toBeGreaterThanOrEqual(at);
      at = next;
    }
    expect(result).toContain('server: https://127.0.0.1:40001 # local');
    expect(result).toContain('12345678901234567890');
    expect(result).toContain('# from the vault');
  });

  test('says what the two files say together, and saying it again changes nothing', () => {
    const result = merged(mine);
    const [before, after, added] = [parse(mine), parse(result), parse(ours)];
    expect(after.clusters).toEqual([{ 'x-note': 'mine', ...added.clusters[0] }, before.clusters[1]]);
    expect(after.contexts).toEqual([before.contexts[0], added.contexts[0], before.contexts[2]]);
    expect(after.users).toEqual(added.users);
    expect(after['current-context']).toBe('kina-a');
    expect(merged(result)).toBe(result);
  });

  test('leaves the layout of kubectl as it is: merge and removal give the same bytes back', () => {
    const kubectls = merged(merged('').replaceAll('kina-a', 'work'));
    const there = merged(kubectls, ours.replaceAll('kina-a', 'kina-b'));
    const back = edited(there, (config) => removeFrom(config, 'kina-b'));
    expect(back).toBe(kubectls.replace('current-context: kina-a', 'current-context: ""'));
  });

  test.each([
    ['an empty file', ''],
    ['nothing but comments', '# mine\n\n# and this\n'],
    ['what kubectl leaves when all is gone', 'apiVersion: v1\nclusters: null\ncontexts: []\nkind: Config\nusers:\n'],
    ['a document marker', '---\n# mine\nkind: Config\n'],
  ])('fills %s', (_what, text) => {
    const result = merged(text);
    expect(parse(result)).toEqual({ ...parse(ours), preferences: undefined });
    for (const comment of text.match(/# .*/g) ?? []) expect(result).toContain(comment);
    expect(result).not.toContain('[');
  });

  test('a namesake that is there twice is there once: kubectl reads no file with two', () => {
    const twice = 'users:\n- {name: kina-a, user: {token: a}}\n- {name: b}\n- {name: kina-a, user: {token: b}}\n';
    expect(parse(merged(twice)).users.map(({ name }: { name: string }) => name)).toEqual(['kina-a', 'b']);
  });

  test.each([['  '], ['\t'], ['']])('JSON stays JSON (indented with %j)', (indent) => {
    const text = `${JSON.stringify({ kind: 'Config', users: [{ name: 'me', user: {} }], extra: 1 }, null, indent)}\n`;
    const result = merged(text);
    expect(JSON.parse(result)).toMatchObject({ extra: 1, users: [{ name: 'me' }, { name: 'kina-a' }] });
    expect(edited(result, (config) => removeFrom(config, 'kina-a'))).toBe(
      `${JSON.stringify(
        { ...JSON.parse(text), apiVersion: 'v1', clusters: [], contexts: [], 'current-context': '' },
        null,
        indent,
      )}\n`,
    );
  });

  test.each([
    ['a list', '- a\n'],
    ['two documents', 'kind: Config\n---\nkind: Config\n'],
    ['a key that is there twice', 'users: []\nusers: []\n'],
    ['another kind', 'kind: Pod\napiVersion: v1\n'],
    ['clusters as a map', 'clusters: {a: {server: x}}\n'],
    ['broken YAML', 'clusters:\n  - name: "a\n'],
  ])('refuses %s', (_what, text) => {
    expect(() => parseKubeconfig(text, 'FILE')).toThrow('FILE is not a kubeconfig');
  });

  test('refuses to tear an anchor from what refers to it', () => {
    const text = 'users:\n- &me {name: kina-a, user: {token: t}}\nx-copy: *me\n';
    expect(() => edited(text, (config) => removeFrom(config, 'kina-a'))).toThrow('FILE cannot be edited');
  });
});

describe('removing', () => {
  test('takes the entries and the current context, nothing else', () => {
    const text = merged('# mine\nusers:\n# me\n- name: me\n  user: {}\n');
    const result = edited(text, (config) => expect(removeFrom(config, 'kina-a')).toBe(true));
    expect(parse(result)).toEqual({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [],
      contexts: [],
      'current-context': '',
      users: [{ name: 'me', user: {} }],
    });
    expect(result).toMatch(/^# mine\n.*# me\n/s);
  });

  test('knows when there is nothing to do', () => {
    expect(removeFrom(parseKubeconfig(ours, 'FILE'), 'kina')).toBe(false);
    expect(removeFrom(parseKubeconfig('', 'FILE'), 'kina')).toBe(false);
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-kubeconfig-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('are found as kubectl finds them', async () => {
    const env = { HOME: '/home/me', KUBECONFIG: ':/a::/b:/a:' };
    expect(kubeconfigPaths('/x', env)).toEqual(['/x']);
    expect(kubeconfigPaths('', env)).toEqual(['/a', '/b']);
    expect(kubeconfigPaths(undefined, { ...env, KUBECONFIG: '' })).toEqual(['/home/me/.kube/config']);
  });

  test('new entries go into the first that exists, else into the last', async () => {
    const [a, b] = [join(folder, 'a'), join(folder, 'b')];
    const env = { KUBECONFIG: `${a}:${b}` };
    expect(await kubeconfigDestination({ env })).toBe(b);
    await writeFile(b, '');
    expect(await kubeconfigDestination({ env: { KUBECONFIG: `${a}:${b}:${join(folder, 'c')}` } })).toBe(b);
    await writeFile(a, '');
    expect(await kubeconfigDestination({ env })).toBe(a);
  });

  describe('are locked', () => {
    const at = (name: string) => join(folder, name);

    test('one owner at a time, and nothing is left', async () => {
      let inside = 0;
      const turns = Array.from({ length: 8 }, () =>
        withLocks([at('one')], async () => {
          expect(++inside).toBe(1);
          await sleep(2);
          inside--;
        }),
      );
      await Promise.all(turns);
      expect((await readdir(folder)).filter((name) => name.startsWith('one'))).toEqual([]);
    });

    test('under two names of one lock without waiting for itself', async () => {
      await symlink('.', at('here'));
      await withLocks([at('two'), at('here/two')], async () => expect(existsSync(at('two.lock'))).toBe(true), 100);
      expect(existsSync(at('two.lock'))).toBe(false);
    });

    test("another program's lock is respected, named and kept", async () => {
      await writeFile(at('three.lock'), '', { mode: 0 });
      const attempt = withLocks([at('three')], async () => expect.unreachable(), 50);
      await expect(attempt).rejects.toMatchObject({
        code: 'kubeconfig',
        message: expect.stringContaining('locked by another program'),
        hint: expect.stringContaining(at('three.lock')),
      });
      expect(existsSync(at('three.lock'))).toBe(true);
    });

    // Killed between making it and writing into it: the file would stay locked for a minute.
    test('a lock that its kina never signed is taken over soon', async () => {
      await writeFile(at('unsigned.lock'), '', { mode: 0o600 });
      const before = new Date(Date.now() - 5_000);
      await utimes(at('unsigned.lock'), before, before);
      await withLocks([at('unsigned')], async () => expect(existsSync(at('unsigned.lock'))).toBe(true), 500);
      expect(existsSync(at('unsigned.lock'))).toBe(false);
    });

    test('patience is for one holder: a lock that changes hands is waited for', async () => {
      const turns = Array.from({ length: 6 }, () => withLocks([at('four')], () => sleep(400), 2_000));
      await expect(Promise.all(turns)).resolves.toHaveLength(6);
    });

    test('a lock of a minute ago is taken over by exactly one of many', async () => {
      await writeFile(at('five.lock'), '', { mode: 0 });
      const past = new Date(Date.now() - 61_000);
      await utimes(at('five.lock'), past, past);
      let inside = 0;
      await Promise.all(
        Array.from({ length: 10 }, () =>
          withLocks([at('five')], async () => {
            expect(++inside).toBe(1);
            await sleep(1);
            inside--;
          }),
        ),
      );
      expect((await readdir(folder)).filter((name) => name.startsWith('five'))).toEqual([]);
    });

    test('the lock of a kina that is gone is taken over at once, with what it had begun to write', async () => {
      let text = '';
      await withLocks([at('six')], async () => {
        text = await readFile(at('six.lock'), 'utf8');
      });
      // No process has this number: Linux's limit is 2^22.
      const token = '4194999-0123456789ab';
      await writeFile(at('six.lock'), text.replace(/^\S+/, token));
      await writeFile(temporaryName(at('six'), token), 'half');
      await withLocks([at('six')], async () => {}, 100);
      expect((await readdir(folder)).filter((name) => name.startsWith('six'))).toEqual([]);

      // The same number in another container says nothing.
      await writeFile(at('six.lock'), `${token} elsewhere\n`);
      await expect(withLocks([at('six')], async () => {}, 50)).rejects.toThrow('locked by kina (process 4194999');
    });
  });
});
