/** Compares two locks: what is newer, and why it matters. */
import { debianPool } from '../../artifacts/artifact.ts';
import type { Lock } from '../../build/lock.ts';

export interface Update {
  /** `replaced`: the same URL or name with different bytes. */
  readonly kind: 'kubernetes' | 'component' | 'debian' | 'replaced';
  readonly name: string;
  /** Undefined if it is new. */
  readonly locked: string | undefined;
  /** Undefined if it is gone. */
  readonly newest: string | undefined;
  readonly platforms: readonly string[];
  /** Whether it comes from Debian's security archive. */
  readonly security: boolean;
  readonly why: string;
}

type Steps = Lock['platforms'][string];
type Found = Omit<Update, 'platforms'>;
interface Package {
  readonly version: string;
  /** `debian` or `debian-security`. */
  readonly archive: string;
}

/** Security updates first, then Kubernetes, components and packages by name. `kubernetes`: the newest known patch. */
export function compareLocks(old: Lock, now: Lock, kubernetes: string | undefined = now.kubernetes): Update[] {
  const platforms = Object.keys(old.platforms);
  const found: Update[] = [];
  if (old.kubernetes !== undefined && kubernetes !== undefined && old.kubernetes !== kubernetes)
    found.push({ ...patchRelease(old.kubernetes, kubernetes), platforms });
  const grouped = new Map<string, Found & { platforms: string[] }>();
  for (const platform of platforms) {
    const [before, after] = [old.platforms[platform] ?? {}, now.platforms[platform] ?? {}];
    for (const one of [...components(before, after, now), ...packages(before, after), ...replaced(before, after)]) {
      const key = [one.kind, one.name, one.locked, one.newest].join(' ');
      const group = grouped.get(key) ?? { ...one, platforms: [] };
      group.platforms.push(platform);
      grouped.set(key, group);
    }
  }
  return [...found, ...grouped.values()].sort(
    (a, b) =>
      Number(b.security) - Number(a.security) || rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
}

function rank({ kind }: Update): number {
  return ['replaced', 'kubernetes', 'component', 'debian'].indexOf(kind);
}

function patchRelease(locked: string, newest: string): Found {
  const minor = /^v(\d+\.\d+)/.exec(newest)?.[1];
  const why = `patch release of ${minor}: fixes; https://github.com/kubernetes/kubernetes/blob/master/CHANGELOG/CHANGELOG-${minor}.md`;
  return { kind: 'kubernetes', name: 'kubernetes', locked, newest, security: false, why };
}

/** Required by kubeadm in exact versions; a preloaded image of a different version would not be used. */
const ofKubeadm = new Set(['etcd', 'coredns', 'pause']);

function components(before: Steps, after: Steps, now: Lock): Found[] {
  const [was, is] = [versions(before), versions(after)];
  return differing(was, is).map(([name, locked, newest]) => ({
    kind: 'component' as const,
    name,
    locked,
    newest,
    security: false,
    why: ofKubeadm.has(name)
      ? `required by kubeadm ${now.kubernetes}`
      : `in kina's version table for Kubernetes ${now.kubernetes}`,
  }));
}

/** Versions by component, except Debian packages (listed separately) and Kubernetes itself. */
function versions(steps: Steps): Map<string, string> {
  return new Map(
    Object.entries(steps)
      .filter(([id, { artifacts }]) => id.split('/').length === 2 && !artifacts?.some(({ type }) => type === 'deb'))
      .flatMap(([, step]) => Object.entries(step.components ?? {}))
      .filter(([name]) => name !== 'kubernetes'),
  );
}

function packages(before: Steps, after: Steps): Found[] {
  const [was, is] = [installed(before), installed(after)];
  const suites = Object.values(after).flatMap(({ notes }) => Object.keys(notes ?? {}));
  const security =
    [...new Set(suites)].filter((suite) => suite.startsWith('debian-security/')).join(', ') || 'debian-security';
  const version = (of: Map<string, Package>) => new Map([...of].map(([name, one]) => [name, one.version]));
  return differing(version(was), version(is)).map(([name, locked, newest]) => {
    const fromSecurity = is.get(name)?.archive === 'debian-security';
    const update = fromSecurity ? `security update: ${security}` : `newer in ${is.get(name)?.archive}`;
    const why = locked === undefined ? 'needed now' : newest === undefined ? 'no longer needed or gone' : update;
    return { kind: 'debian', name, locked, newest, security: fromSecurity && locked !== undefined, why };
  });
}

function installed(steps: Steps): Map<string, Package> {
  const all = Object.values(steps).flatMap(({ artifacts }) => artifacts ?? []);
  return new Map(
    all.flatMap((artifact) => {
      const { name, version } = artifact;
      const pool = debianPool(artifact);
      return pool === undefined || version === undefined ? [] : [[name, { version, archive: pool.archive }] as const];
    }),
  );
}

/** Released files do not change, and release tags do not move; if one did, it should be reviewed before it is used. */
function replaced(before: Steps, after: Steps): Found[] {
  const [was, is] = [bytesOf(before), bytesOf(after)];
  return differing(was, is)
    .filter(([, locked, newest]) => locked !== undefined && newest !== undefined)
    .map(([name, locked, newest]) => ({
      kind: 'replaced' as const,
      name,
      locked: locked?.slice(0, 19),
      newest: newest?.slice(0, 19),
      security: false,
      why: 'same name, different bytes: find out why before you update',
    }));
}

/** Digests by URL, and of images by name. */
function bytesOf(steps: Steps): Map<string, string> {
  return new Map(
    Object.values(steps).flatMap(({ artifacts = [], images = [] }) => [
      ...artifacts.filter(({ type }) => type !== 'local').map(({ url, digest }) => [url, digest] as const),
      ...images.map(({ name, manifest }) => [name, manifest.digest] as const),
    ]),
  );
}

function differing(
  was: ReadonlyMap<string, string>,
  is: ReadonlyMap<string, string>,
): [name: string, locked: string | undefined, newest: string | undefined][] {
  return [...new Set([...was.keys(), ...is.keys()])]
    .filter((name) => was.get(name) !== is.get(name))
    .map((name) => [name, was.get(name), is.get(name)]);
}
