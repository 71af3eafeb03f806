/**
 * Rules for files of packages that images omit: documentation, manuals, translations. The same rules are written to
 * `/etc/dpkg/dpkg.cfg.d`, so that `apt-get install` inside a node follows them and `dpkg --verify` does not complain.
 *
 * The last matching rule wins, as for dpkg's `path-exclude` and `path-include`; `*` also matches `/`.
 */

/** One rule; in dpkg's syntax e.g. `path-exclude /usr/share/man/*`. */
export interface PruneRule {
  readonly action: 'exclude' | 'include';
  readonly pattern: string;
}

/** Copyright files are kept, because licenses require it. */
export const defaultPruneRules: readonly PruneRule[] = [
  { action: 'exclude', pattern: '/usr/share/doc/*' },
  { action: 'include', pattern: '/usr/share/doc/*/copyright' },
  { action: 'exclude', pattern: '/usr/share/man/*' },
  { action: 'exclude', pattern: '/usr/share/info/*' },
  { action: 'exclude', pattern: '/usr/share/groff/*' },
  { action: 'exclude', pattern: '/usr/share/lintian/*' },
  { action: 'exclude', pattern: '/usr/share/linda/*' },
  { action: 'exclude', pattern: '/usr/share/locale/*' },
  { action: 'include', pattern: '/usr/share/locale/locale.alias' },
  { action: 'exclude', pattern: '/usr/share/bash-completion/*' },
  { action: 'exclude', pattern: '/usr/share/zsh/*' },
  { action: 'exclude', pattern: '/usr/share/fish/*' },
];

/** Returns a function that tells whether to keep a path (canonical, no leading slash). */
export function pruner(rules: readonly PruneRule[]): (path: string) => boolean {
  const compiled = rules.map(({ action, pattern }) => ({ keep: action === 'include', match: globToRegExp(pattern) }));
  return (path) => {
    const absolute = `/${path}`;
    for (let i = compiled.length - 1; i >= 0; i--) {
      const rule = compiled[i] as (typeof compiled)[number];
      if (rule.match.test(absolute)) return rule.keep;
    }
    return true;
  };
}

/** The rules as a file for `/etc/dpkg/dpkg.cfg.d`. */
export function pruneConfiguration(rules: readonly PruneRule[]): string {
  return rules.map(({ action, pattern }) => `path-${action} ${pattern}\n`).join('');
}

/** fnmatch(3) without FNM_PATHNAME, as dpkg calls it. */
function globToRegExp(pattern: string): RegExp {
  let source = '';
  for (const c of pattern) source += c === '*' ? '.*' : c === '?' ? '.' : c.replace(/[.+^$()|[\]{}\\]/g, '\\$&');
  return new RegExp(`^${source}$`, 's');
}
