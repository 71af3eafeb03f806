/**
 * A second opinion of the base: mmdebstrap installs the same packages with dpkg and apt, scripts run and all, and every
 * file is compared. What may differ stands in `mmdebstrap/rules.ts`, with the reason; a rule that explains nothing any
 * more fails as well.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { debianMirror } from '../support/cache.ts';
import { check, projectRoot } from '../support/command.ts';
import { openImage } from '../support/image-root.ts';
import { buildImage } from '../support/images.ts';
import { describeUnless, missing, noDebianMirror } from '../support/requirements.ts';
import { ruleFor, rules, type Variant } from './mmdebstrap/rules.ts';
import { compareTrees, type Difference, readTree } from './mmdebstrap/tree.ts';

const cases: readonly { suite: string; architecture: 'amd64' | 'arm64'; variant: Variant }[] = [
  { suite: 'bookworm', architecture: 'amd64', variant: 'unpacked' },
  { suite: 'trixie', architecture: 'amd64', variant: 'unpacked' },
  { suite: 'bookworm', architecture: 'arm64', variant: 'unpacked' },
  { suite: 'trixie', architecture: 'arm64', variant: 'unpacked' },
  { suite: 'bookworm', architecture: 'amd64', variant: 'configured' },
  { suite: 'trixie', architecture: 'amd64', variant: 'configured' },
  { suite: 'bookworm', architecture: 'arm64', variant: 'configured' },
  { suite: 'trixie', architecture: 'arm64', variant: 'configured' },
];

const native = { x64: 'amd64', arm64: 'arm64' }[process.arch as string];
/** Why the scripts of these packages cannot run here. */
function cannotRun(architecture: string, variant: Variant): string | undefined {
  if (variant === 'unpacked' || architecture === native) return undefined;
  const emulator = architecture === 'arm64' ? 'qemu-aarch64' : 'qemu-x86_64';
  if (!existsSync(`/proc/sys/fs/binfmt_misc/${emulator}`)) return `no ${emulator} in binfmt_misc`;
  return missing(['arch-test']); // mmdebstrap asks it
}

/** No package of Debian 12 has these links; its installers make them, as kina does. */
const mergeUsr = (architecture: string): string =>
  `cd "$1" && for name in bin sbin lib ${architecture === 'amd64' ? 'lib64' : ''}; do mkdir -p usr/$name; ln -s usr/$name $name; done`;

const problem = missing(['full tier', 'root', 'mmdebstrap']) ?? (await noDebianMirror());
const used = new Set<string>();
const ran: string[] = [];

for (const { suite, architecture, variant } of cases)
  describeUnless(problem ?? cannotRun(architecture, variant), `${suite} ${architecture}, ${variant}`, () => {
    let folder: string;
    let differences: Difference[];

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kina-mmdebstrap-'));
      const packages = await nodePackages();
      const recipe = join(folder, 'same.yaml');
      await writeFile(recipe, stringify(recipeOf(suite, packages, variant)));
      const name = `same-${suite}-${architecture}-${variant}`;
      const built = await buildImage(name, ['--recipe', recipe, '--platform', `linux/${architecture}`]);
      const image = await openImage(built.archive, architecture, join(folder, 'layout'));
      const theirs = join(folder, 'theirs.tar');
      const flags = ['--mode=root', '--format=tar', `--architectures=${architecture}`, `--include=${packages.join()}`];
      const kind = variant === 'unpacked' ? 'extract' : 'essential';
      if (variant === 'unpacked' && suite === 'bookworm') flags.push(`--setup-hook=${mergeUsr(architecture)}`);
      await check(['mmdebstrap', `--variant=${kind}`, ...flags, suite, theirs, debianMirror], { timeout: 900 });
      differences = compareTrees(await readTree(image.layers), await readTree([theirs]));
      await rm(built.archive);
      ran.push(variant);
    });
    afterAll(() => folder && rm(folder, { recursive: true, force: true }));

    test('every difference has a reason', () => {
      const unexplained = differences.filter((difference) => {
        const rule = ruleFor(difference, variant);
        if (rule) used.add(rule.where);
        return !rule;
      });
      expect(unexplained.map(({ path, what, kina, mmdebstrap }) => [path, what, kina, mmdebstrap].join(' '))).toEqual(
        [],
      );
    });
  });

describeUnless(problem, 'the rules', () => {
  test('each explains something', () => {
    const idle = rules.filter((rule) => ran.includes(rule.variant ?? ran[0]!) && !used.has(rule.where));
    expect(idle.map(({ where }) => where)).toEqual([]);
  });
});

/** What the shipped recipes are based on. */
async function nodePackages(): Promise<string[]> {
  const recipe = parse(await readFile(join(projectRoot, 'recipes/node-base.yaml'), 'utf8'));
  return recipe.layers[0].steps[0].debian.packages;
}

/** Nothing pruned and nothing left out. */
function recipeOf(suite: string, packages: readonly string[], variant: Variant): unknown {
  const archives = [{ archive: 'debian', suite, components: ['main'] }];
  const essential = variant === 'configured';
  const debian = { archives, packages, prune: 'none', essential };
  return {
    name: 'same',
    description: 'the packages of a node, as Debian installs them',
    layers: [{ name: 'base', steps: [{ debian }, ...(variant === 'configured' ? [{ system: {} }] : [])] }],
  };
}
