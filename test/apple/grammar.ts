/**
 * The command line of Apple's `container` 1.2.2 as far as kina's reference describes it: every command, every option, and
 * nothing else. What stands here is what kina may say; a test compares the tables with the reference, and another one
 * every call that kina makes with the tables.
 *
 * Parsing is as strict as upstream's library: unknown options end with 64; a value that begins with `-` must be joined
 * with `=`; `run`, `create` and `exec` stop at the first positional argument, and all that follows is the guest's.
 */
import { usage } from './refusal.ts';

/** A switch, one value (the last wins), or as many values as there are. */
type Kind = 'flag' | 'value' | 'array';

interface Grammar {
  readonly options: Readonly<Record<string, Kind>>;
  /** Short forms: letter to name; a name of one letter has no long form. */
  readonly short?: Readonly<Record<string, string>>;
  readonly least: number;
  readonly most: number;
  /** Everything after the first positional argument belongs to the guest. */
  readonly guest?: true;
}

const container: Readonly<Record<string, Kind>> = {
  name: 'value',
  platform: 'value',
  arch: 'value',
  os: 'value',
  cpus: 'value',
  memory: 'value',
  'cap-add': 'array',
  'cap-drop': 'array',
  'masked-path': 'array',
  'read-only-path': 'array',
  env: 'array',
  'env-file': 'array',
  user: 'value',
  uid: 'value',
  gid: 'value',
  workdir: 'value',
  ulimit: 'array',
  entrypoint: 'value',
  init: 'flag',
  label: 'array',
  network: 'array',
  dns: 'array',
  'dns-search': 'array',
  'dns-domain': 'value',
  'dns-option': 'array',
  'no-dns': 'flag',
  publish: 'array',
  'publish-socket': 'array',
  volume: 'array',
  mount: 'array',
  tmpfs: 'array',
  'shm-size': 'value',
  kernel: 'value',
  'kernel-arg': 'array',
  rosetta: 'flag',
  virtualization: 'flag',
  ssh: 'flag',
  'read-only': 'flag',
  rm: 'flag',
  cidfile: 'value',
  runtime: 'value',
};

const names = (least: number, most = Number.POSITIVE_INFINITY): Pick<Grammar, 'least' | 'most'> => ({ least, most });
const listing: Readonly<Record<string, Kind>> = { format: 'value', quiet: 'flag' };

export const grammar: Readonly<Record<string, Grammar>> = {
  run: { options: { ...container, detach: 'flag', progress: 'value' }, ...names(1), guest: true },
  create: { options: container, ...names(1), guest: true },
  start: { options: { attach: 'flag' }, ...names(1, 1) },
  stop: { options: { signal: 'value', time: 'value', all: 'flag' }, ...names(0) },
  kill: { options: { signal: 'value' }, ...names(1) },
  delete: { options: { force: 'flag' }, ...names(1) },
  list: { options: { ...listing, all: 'flag' }, ...names(0, 0) },
  inspect: { options: {}, ...names(1) },
  exec: {
    options: { i: 'flag', t: 'flag', d: 'flag', env: 'array', u: 'value', w: 'value' },
    short: { e: 'env' },
    ...names(2),
    guest: true,
  },
  logs: { options: { boot: 'flag', n: 'value', f: 'flag' }, ...names(1, 1) },
  stats: { options: { format: 'value' }, ...names(0) },
  export: { options: { o: 'value' }, ...names(1, 1) },
  copy: { options: {}, ...names(2, 2) },
  prune: { options: {}, ...names(0, 0) },
  'image pull': { options: { platform: 'value', scheme: 'value', progress: 'value' }, ...names(1, 1) },
  'image load': { options: { input: 'value', force: 'flag' }, ...names(0, 0) },
  'image save': { options: { platform: 'value', output: 'value' }, ...names(1) },
  'image inspect': { options: {}, ...names(1) },
  'image list': { options: listing, ...names(0, 0) },
  'image tag': { options: {}, ...names(2, 2) },
  'image push': { options: { progress: 'value' }, ...names(1, 1) },
  'image delete': { options: { force: 'flag' }, ...names(1) },
  'network create': {
    options: { internal: 'flag', label: 'array', subnet: 'value', 'subnet-v6': 'value', option: 'array' },
    ...names(1, 1),
  },
  'network list': { options: listing, ...names(0, 0) },
  'network inspect': { options: {}, ...names(1) },
  'network delete': { options: {}, ...names(1) },
  'volume create': { options: { s: 'value', label: 'array', opt: 'array' }, ...names(1, 1) },
  'volume list': { options: listing, ...names(0, 0) },
  'volume delete': { options: {}, ...names(1) },
  'system start': { options: { 'enable-kernel-install': 'flag', 'disable-kernel-install': 'flag' }, ...names(0, 0) },
  'system stop': { options: {}, ...names(0, 0) },
  'system status': { options: { format: 'value' }, ...names(0, 0) },
  'system version': { options: { format: 'value' }, ...names(0, 0) },
  'system df': { options: { format: 'value' }, ...names(0, 0) },
  'system logs': { options: { last: 'value' }, ...names(0, 0) },
};

/** Options that came later than the minimum that the others belong to. */
const since: Readonly<Record<string, string>> = {
  'kernel-arg': '1.2.0',
  'masked-path': '1.2.1',
  'read-only-path': '1.2.1',
};

export interface Call {
  readonly command: string;
  readonly options: Readonly<Record<string, readonly string[]>>;
  /** Names, or the image or id. */
  readonly positional: readonly string[];
  /** What the guest gets. */
  readonly guest: readonly string[];
}

const groups = new Set(Object.keys(grammar).flatMap((name) => (name.includes(' ') ? [name.split(' ')[0]!] : [])));

/** Throws the `Refusal` that the real program would end with; `version` is the one that it imitates. */
export function parse(argv: readonly string[], version: string): Call {
  const words = groups.has(argv[0] ?? '') ? 2 : 1;
  const command = argv.slice(0, words).join(' ');
  const rules = grammar[command];
  if (!rules)
    throw usage(
      groups.has(argv[0] ?? '') ? `Unexpected argument '${argv[1] ?? ''}'` : `Plugin 'container-${argv[0]}' not found.`,
    );
  const options: Record<string, string[]> = {};
  const positional: string[] = [];
  let i = words;
  for (; i < argv.length; i++) {
    const word = argv[i]!;
    if (rules.guest && positional.length === 1) break;
    if (!word.startsWith('-') || word === '-') {
      positional.push(word);
      continue;
    }
    if (word === '--') {
      positional.push(...argv.slice(i + 1));
      i = argv.length;
      break;
    }
    const [flag = '', joined] = splitAtFirst(word);
    const name = optionName(flag, rules);
    const kind = name === undefined ? undefined : rules.options[name];
    if (name === undefined || kind === undefined || isLater(since[name], version))
      throw usage(`Unknown option '${flag}'`);
    const before = options[name] ?? [];
    if (kind === 'flag') {
      if (joined !== undefined) throw usage(`The option '${flag}' takes no value, but '${joined}' was specified.`);
      options[name] = ['true'];
      continue;
    }
    const value = joined ?? argv[++i];
    if (value === undefined || (joined === undefined && value.startsWith('-')))
      throw usage(`Missing value for '${flag} <${name}>'`);
    options[name] = kind === 'array' ? [...before, value] : [value];
  }
  const guest = argv.slice(i);
  const count = positional.length + (rules.guest ? guest.length : 0);
  if (count < rules.least) throw usage(`Missing expected argument`);
  if (positional.length > rules.most) throw usage(`Unexpected argument '${positional[rules.most]}'`);
  return { command, options, positional, guest };
}

function splitAtFirst(word: string): [string, string | undefined] {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** `--name`, or `-x` for short forms. */
function optionName(flag: string, rules: Grammar): string | undefined {
  if (flag.startsWith('--')) return flag.length > 3 ? flag.slice(2) : undefined;
  const letter = flag.slice(1);
  return rules.short?.[letter] ?? (letter.length === 1 && rules.options[letter] ? letter : undefined);
}

function isLater(needed: string | undefined, version: string): boolean {
  if (!needed) return false;
  const [one, other] = [needed, version].map((text) => text.split('.').map(Number));
  for (let i = 0; i < 3; i++) if (one![i] !== other![i]) return one![i]! > other![i]!;
  return false;
}
