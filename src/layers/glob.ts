/** Globs over archive paths: `*` and `?` stay within a segment, `**` crosses segments. `./` in front is ignored. */
export function globMatcher(globs: readonly string[]): (path: string) => boolean {
  const expressions = globs.map((glob) => {
    const source = glob
      .replace(/^\.?\//, '')
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*\*\/?|\*|\?/g, (m) => (m === '*' ? '[^/]*' : m === '?' ? '[^/]' : '.*'));
    return new RegExp(`^${source}$`);
  });
  return (path) => expressions.some((e) => e.test(path));
}
