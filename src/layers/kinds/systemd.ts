/**
 * `systemd`: unit files, drop-ins, and which units are enabled, masked or removed from what others want.
 *
 * Enabling a unit creates the links in its `[Install]` section (systemd.unit(5)). The kind is derived, because it must see unit
 * files of every layer. Packages enable no units; the recipe says what runs.
 */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { bytesContent, readAll } from '../../tree/entry.ts';
import { file, symlink, Tree } from '../../tree/tree.ts';
import { defineKind } from '../kind.ts';
import type { DerivedContext } from '../step.ts';

const unit = z
  .string()
  .regex(
    /^[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|mount|automount|path|slice|swap)$/,
    'expected a unit name such as kubelet.service',
  );

const schema = z.strictObject({
  enable: z.array(unit).optional(),
  mask: z.array(unit).optional(),
  /** Units whose links in vendor `.wants` directories are removed. */
  unwant: z.array(unit).optional(),
  units: z.record(unit, z.string()).optional(),
  /** `kubelet.service/10-kubeadm.conf` to content. */
  dropins: z.record(z.string().regex(/^[^/]+\/[^/]+\.conf$/, 'expected UNIT/NAME.conf'), z.string()).optional(),
  defaultTarget: unit.optional(),
});

const ETC = 'etc/systemd/system';
const UNIT_FOLDERS = [ETC, 'usr/local/lib/systemd/system', 'usr/lib/systemd/system'];

export const systemdKind = defineKind({
  name: 'systemd',
  version: 1,
  schema,
  derived: true,
  summary: 'units, drop-ins; enable, mask, default target',

  async tree(step, _pins, context) {
    const tree = new Tree();
    const owner = context.owner;
    for (const [name, content] of Object.entries(step.units ?? {}))
      tree.add(file(`${ETC}/${name}`, bytesContent(content), owner));
    for (const [name, content] of Object.entries(step.dropins ?? {})) {
      const [unitName, conf] = name.split('/') as [string, string];
      tree.add(file(`${ETC}/${unitName}.d/${conf}`, bytesContent(content), owner));
    }
    for (const name of step.mask ?? []) {
      const own = tree.file(`${ETC}/${name}`) ?? context.merged.file(`${ETC}/${name}`);
      if (own)
        // The link would replace the unit's file: `systemctl mask` refuses this too.
        throw new KinaError('recipe', `${owner}: cannot mask ${name}: ${own.owner} brings ${own.path} itself`, {
          hint: 'Remove the step that adds it, or stop it with a drop-in (`[Unit]`, `ConditionPathExists=/never`).',
        });
      tree.add(symlink(`${ETC}/${name}`, '/dev/null', owner));
    }
    if (step.defaultTarget)
      tree.add(symlink(`${ETC}/default.target`, `/usr/lib/systemd/system/${step.defaultTarget}`, owner));
    for (const name of step.unwant ?? []) {
      // A mask would also stop what other units require; an empty override of the link does not exist in systemd, so
      // the vendor's link is overridden by removing it from the merged tree.
      for (const entry of [...context.merged.values()])
        if (/\.(wants|requires)\//.test(entry.path) && entry.path.endsWith(`/${name}`))
          context.merged.delete(entry.path);
    }

    for (const name of step.enable ?? []) await enable(name, tree, context);
    return { tree };
  },
});

/** Adds the links that the unit's `[Install]` section asks for. */
async function enable(name: string, tree: Tree, { merged, owner }: DerivedContext): Promise<void> {
  const template = name.replace(/@[^.]*\./, '@.');
  const find = (from: Tree) => UNIT_FOLDERS.map((folder) => from.file(`${folder}/${template}`)).find((unit) => unit);
  const found = find(tree) ?? find(merged);
  if (!found) {
    const known = [...merged.values()]
      .filter((e) => UNIT_FOLDERS.some((folder) => e.path.startsWith(`${folder}/`)))
      .map((e) => e.path.split('/').at(-1)!);
    throw new KinaError(
      'recipe',
      `${owner}: cannot enable ${name}, no layer has such a unit${didYouMean(name, known)}`,
      {
        hint: 'Add the package or file that brings the unit, or correct its name.',
      },
    );
  }
  const install = parseInstall((await readAll(found.content)).toString('utf8'));
  if (install.wantedBy.length + install.requiredBy.length + install.alias.length === 0)
    throw new KinaError('recipe', `${owner}: ${name} has no [Install] section, so it cannot be enabled`, {
      hint: 'Other units start it; remove it from `enable`.',
    });
  const target = `/${found.path}`;
  for (const by of install.wantedBy) tree.add(symlink(`${ETC}/${by}.wants/${name}`, target, owner));
  for (const by of install.requiredBy) tree.add(symlink(`${ETC}/${by}.requires/${name}`, target, owner));
  for (const alias of install.alias) tree.add(symlink(`${ETC}/${alias}`, target, owner));
}

function parseInstall(text: string): { wantedBy: string[]; requiredBy: string[]; alias: string[] } {
  const found = { wantedBy: [] as string[], requiredBy: [] as string[], alias: [] as string[] };
  let section = '';
  for (const line of text.replace(/\\\n/g, ' ').split('\n')) {
    const head = /^\[(.+)\]\s*$/.exec(line);
    if (head) section = head[1]!;
    const pair = section === 'Install' ? /^(WantedBy|RequiredBy|Alias)\s*=\s*(.*)$/.exec(line.trim()) : null;
    if (!pair) continue;
    const list = pair[1] === 'WantedBy' ? found.wantedBy : pair[1] === 'RequiredBy' ? found.requiredBy : found.alias;
    list.push(...pair[2]!.split(/\s+/).filter((w) => w !== ''));
  }
  return found;
}
