/**
 * Finds a few turns of phrase that CONTRIBUTING.md asks to avoid, in code, comments, tests and documents. It knows only what
 * a machine can find; the rest is up to the reviewer.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const patterns: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/\b(whoever|whomever|nobody|somebody|everybody)\b/i, 'name the actor ("the user", "the caller") or use the passive'],
  [/(?<!\bthere )\b(is|are|was|were|be) no (?!longer\b|more\b|less\b|later\b|earlier\b)\w/i, 'write "is not a …"'],
  [/(?<!\bthere |[\w.'])\b(is|are) none\b/i, 'write "is not a …", "does not exist" or "is missing"'],
  [/\bwarning: /, 'warnings begin with "WARNING: "'],
  [/\bpassed over\b/i, 'write "is ignored" or "is skipped"'],
  [/\bcomma list\b/i, 'write "comma-separated list"'],
  [/\banother \w+( \w+)? than\b/i, 'write "a different … from"'],
  [/\b(takes?|took|taken|taking) back\b/i, 'write "clean up" or "revert"'],
  [/\bwhat is not there\b/i, 'write "a missing …"'],
];

/** Lines that may keep a phrase. */
const allowed: readonly (readonly [file: RegExp, line: RegExp, reason: string])[] = [
  [/./, /\bnobody(['":]| and nogroup| \(65534\)|,? the user)/, 'the user account of that name'],
  [/^CONTRIBUTING\.md$/, /^\||^- Avoid /, 'the list of words'],
  [/^scripts\/check-english\.ts$/, /./, 'the patterns'],
];

const root = resolve(import.meta.dirname, '..');
const folders = ['bin', 'docs', 'examples', 'recipes', 'scripts', 'src', 'test'];
const files = [
  ...readdirSync(root),
  ...folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
  ),
].filter((name) => /\.(ts|js|md|ya?ml|sh)$/.test(name) && !/^(src\/cri\/api|recipes\/files)\//.test(name));

function problemsOf(file: string, line: string, number: number): string[] {
  if (allowed.some(([name, phrase]) => name.test(file) && phrase.test(line))) return [];
  return patterns.flatMap(([pattern, advice]) => {
    const found = pattern.exec(line)?.[0];
    return found ? [`${file}:${number}: ${JSON.stringify(found)}: ${advice}`] : [];
  });
}

const problems = files.flatMap((file) =>
  readFileSync(join(root, file), 'utf8')
    .split('\n')
    .flatMap((line, index) => problemsOf(file, line, index + 1)),
);
if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`english: ${files.length} files checked`);
