/**
 * `/etc/pam.d/common-*` as `pam-auth-update --package` renders them from `/usr/share/pam-configs` on first installation:
 * every profile with `Default: yes`, by priority, put into the templates of `/usr/share/pam`.
 */
import { bytesContent, type Entry, readAll } from '../tree/entry.ts';
import { comparePaths, file, type Tree } from '../tree/tree.ts';
import { parseStanza, type Stanza } from './deb822.ts';

const kinds = ['auth', 'account', 'password', 'session', 'session-noninteractive'] as const;

/** The five files; none when the tree has no templates. */
export async function pamEntries(tree: Tree, owner: string): Promise<Entry[]> {
  const profiles: { name: string; fields: Stanza }[] = [];
  for (const entry of tree.values()) {
    const name = /^usr\/share\/pam-configs\/([^/]+)$/.exec(entry.path)?.[1];
    const found = name && tree.file(entry.path);
    if (!found) continue;
    const fields = parseStanza((await readAll(found.content, 1 << 20)).toString('utf8'), `/${entry.path}`);
    if (fields.get('default') === 'yes') profiles.push({ name, fields });
  }
  const priority = (fields: Stanza) => Number(fields.get('priority') ?? 0);
  profiles.sort((a, b) => priority(b.fields) - priority(a.fields) || comparePaths(a.name, b.name));

  const entries: Entry[] = [];
  for (const kind of kinds) {
    const template = tree.file(`usr/share/pam/common-${kind}`);
    if (!template) continue;
    const text = (await readAll(template.content, 1 << 20)).toString('utf8');
    const type = kind.replace('-noninteractive', '');
    const chosen = profiles
      .map((profile) => profile.fields)
      .filter((fields) => kind !== 'session-noninteractive' || fields.get('session-interactive-only') !== 'yes');
    const rendered = text
      .replace(/^\$[a-z_]+_primary\n/m, block(chosen, type, 'Primary'))
      .replace(/^\$[a-z_]+_additional\n/m, block(chosen, type, 'Additional'));
    entries.push(file(`etc/pam.d/common-${kind}`, bytesContent(rendered), owner));
  }
  return entries;
}

function block(profiles: readonly Stanza[], type: string, part: 'Primary' | 'Additional'): string {
  const modules: string[] = [];
  for (const fields of profiles) {
    if ((fields.get(`${type}-type`) ?? 'Primary') !== part) continue;
    // The first module of a stack has nothing before it to take a password from.
    const initial = modules.length === 0 ? fields.get(`${type}-initial`) : undefined;
    const text = initial ?? fields.get(type);
    if (text)
      modules.push(
        ...text
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => line !== ''),
      );
  }
  // pam-auth-update's placeholder for a stack without modules: jump over the `pam_deny` that follows.
  if (modules.length === 0 && part === 'Primary') return `${type}\t[default=1]\t\t\tpam_permit.so\n`;
  // `end` means: jump over the rest of the block and over the `pam_deny` that follows it.
  return modules.map((line, at) => `${type}\t${line.replaceAll('=end', `=${modules.length - at}`)}\n`).join('');
}
