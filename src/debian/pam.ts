/**
 * `/etc/pam.d/common-*` as `pam-auth-update --package` renders them from `/usr/share/pam-configs` on first installation:
 * every profile with `Default: yes`, by priority, in the templates of `/usr/share/pam`. Also `/var/lib/pam`, where it
 * records what it rendered: without that record it assumes that the stacks were edited, and would not add the profile of
 * a package that is installed inside a node.
 */
import { bytesContent, type Entry, readAll } from '../tree/entry.ts';
import { comparePaths, file, type Tree } from '../tree/tree.ts';
import { parseStanza, type Stanza } from './deb822.ts';

const kinds = ['auth', 'account', 'password', 'session', 'session-noninteractive'] as const;

interface Profile {
  readonly name: string;
  readonly fields: Stanza;
}
type Part = 'Primary' | 'Additional';

/** The modules of a profile in a stack, one line each. */
interface Lines {
  readonly profile: string;
  readonly lines: readonly string[];
}

/** The five files and the record of them; none if the tree has no templates. */
export async function pamEntries(tree: Tree, owner: string): Promise<Entry[]> {
  const known = await readProfiles(tree);
  const enabled = known.filter(({ fields }) => fields.get('default') === 'yes');
  const entries: Entry[] = [];
  const remember = (name: string, text: string) => entries.push(file(`var/lib/pam/${name}`, bytesContent(text), owner));
  for (const kind of kinds) {
    const template = tree.file(`usr/share/pam/common-${kind}`);
    if (!template) continue;
    const text = (await readAll(template.content, 1 << 20)).toString('utf8');
    const type = kind.replace('-noninteractive', '');
    const chosen = enabled.filter(
      ({ fields }) => kind !== 'session-noninteractive' || fields.get('session-interactive-only') !== 'yes',
    );
    const [primary, additional] = [stack(chosen, type, 'Primary'), stack(chosen, type, 'Additional')];
    const rendered = text
      .replace(/^\$[a-z_]+_primary\n/m, block(primary, type, 'Primary'))
      .replace(/^\$[a-z_]+_additional\n/m, block(additional, type, 'Additional'));
    entries.push(file(`etc/pam.d/common-${kind}`, bytesContent(rendered), owner));
    const parts = [...(primary.length > 0 ? primary : [{ profile: 'null', lines: [placeholder] }]), ...additional];
    remember(kind, parts.map(({ profile, lines }) => `Module: ${profile}\n${lines.join('\n')}\n`).join(''));
  }
  if (entries.length > 0) remember('seen', known.map(({ name }) => `${name}\n`).join(''));
  return entries;
}

/** All profiles in pam-auth-update's order: by priority, then by name in reverse. */
async function readProfiles(tree: Tree): Promise<Profile[]> {
  const profiles: Profile[] = [];
  for (const entry of tree.values()) {
    const name = /^usr\/share\/pam-configs\/([^/]+)$/.exec(entry.path)?.[1];
    const found = name && tree.file(entry.path);
    if (!found) continue;
    const fields = parseStanza((await readAll(found.content, 1 << 20)).toString('utf8'), `/${entry.path}`);
    profiles.push({ name, fields });
  }
  const priority = ({ fields }: Profile) => Number(fields.get('priority') ?? 0);
  return profiles.sort((a, b) => priority(b) - priority(a) || comparePaths(b.name, a.name));
}

function stack(profiles: readonly Profile[], type: string, part: Part): Lines[] {
  const found: Lines[] = [];
  for (const { name, fields } of profiles) {
    if ((fields.get(`${type}-type`) ?? 'Primary') !== part) continue;
    // The first module of a stack has no earlier module to take a password from.
    const initial = found.length === 0 ? fields.get(`${type}-initial`) : undefined;
    const lines = (initial ?? fields.get(type) ?? '')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    if (lines.length > 0) found.push({ profile: name, lines });
  }
  return found;
}

/** pam-auth-update's line for a stack without modules: skips the `pam_deny` that follows. */
const placeholder = '[default=1]\t\t\tpam_permit.so';

function block(found: readonly Lines[], type: string, part: Part): string {
  const modules = found.flatMap(({ lines }) => lines);
  if (modules.length === 0 && part === 'Primary') return `${type}\t${placeholder}\n`;
  // `end` skips the rest of the block, and the `pam_deny` after the primary block.
  const last = part === 'Primary' ? modules.length : modules.length - 1;
  return modules
    .map((line, at) => {
      // The module with its condition, a space, then the options; the space is there even without options.
      const [, module = line, options = ''] = /^((?:\[[^\]]+\]|\w+)\s+\S+)\s*(.*)$/.exec(line) ?? [];
      return `${type}\t${module.replaceAll('=end', `=${last - at}`)} ${options.replace(/\s+/g, ' ')}\n`;
    })
    .join('');
}
