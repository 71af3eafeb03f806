/** The settings of `kina cri serve`, from flags and the file in `--config`; all problems are reported together. */

import { mkdir, readFile, realpath, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { text as streamText } from 'node:stream/consumers';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { checkRoot, socketPath } from '../../../cri/socket.ts';
import { outermost } from '../../../cri/spec/shares.ts';
import { checkStreamingAddress } from '../../../cri/streaming/server.ts';
import type { Environment } from '../../../host/environment.ts';
import { isErrno, KinaError } from '../../../host/errors.ts';
import type { CriSettings } from '../../../ops/cri.ts';
import type { SandboxImageOptions } from '../../../ops/sandbox-image.ts';
import { requestedProvider } from '../../../provider/select.ts';
import type { SourceOptions } from '../../../session/connection.ts';
import { criSocket, type MirrorFlags } from '../../flags.ts';
import type { GlobalFlags } from '../../terminal/context.ts';

export interface ServeFlags extends GlobalFlags, MirrorFlags {
  socket?: string;
  provider?: string;
  config?: string;
  root?: string;
  share: string[];
  network?: string;
  route: string[];
  sandboxImage?: string;
  streamingAddress?: string;
  streamingPort?: string;
  cpus?: string;
  memory?: string;
  insecureRegistry: string[];
}

const text = z.string({ error: 'expected a string' });
const list = z.array(text, { error: 'expected a list of strings' });
const cpus = { error: 'expected a number of CPUs above 0' };
const memory = { error: 'expected whole MiB, 200 or more' };
const port = { error: 'expected a port, 0 to 65535' };
const schema = z.strictObject({
  socket: text.optional(),
  provider: text.optional(),
  root: text.optional(),
  share: list.optional(),
  network: text.optional(),
  route: list.optional(),
  sandboxImage: text.optional(),
  cpus: z.number(cpus).positive(cpus).optional(),
  memory: z.number(memory).int(memory).min(200, memory).optional(),
  streamingAddress: text.optional(),
  streamingPort: z.number(port).int(port).min(0, port).max(65535, port).optional(),
  mirror: list.optional(),
  debianMirror: text.optional(),
  debianSecurityMirror: text.optional(),
  offline: z.boolean({ error: 'expected true or false' }).optional(),
  insecureRegistry: list.optional(),
});
/** The settings file. Its keys are the names of the flags. */
type FileSettings = z.infer<typeof schema>;
type Problems = (string | undefined)[];

/** Flags override the file. Throws `usage` with all problems. The only side effect is that it creates the kubelet directory. */
export async function readSettings(flags: ServeFlags, environment: Environment): Promise<CriSettings> {
  const {
    socket: socketSetting,
    root: rootSetting,
    share,
    route,
    streamingAddress,
    streamingPort,
    ...settings
  } = {
    ...(await readFileSettings(flags.config)),
    ...flagSettings(flags),
  };
  const problems: Problems = [...numberProblems(flags)];
  const streaming = { address: streamingAddress ?? '127.0.0.1', port: streamingPort ?? 0 };
  const root = await rootFolder(rootSetting, environment);
  let socket = '';
  problems.push(
    said(() => (socket = socketPath(socketSetting ?? criSocket))),
    said(() => checkRoot(root)),
    said(() => checkStreamingAddress(streaming.address)),
    said(() => requestedProvider(settings.provider, environment)),
  );
  const routes = (route ?? []).map((one) => parseRoute(one, problems));
  const shares = share === undefined ? await kubeletFolder() : await sharedFolders(share, problems);
  const found = problems.filter((one) => one !== undefined);
  if (found.length > 0)
    throw new KinaError('usage', 'invalid settings', {
      details: found,
      hint: 'See `kina cri serve --help`.',
    });
  return {
    ...settings,
    socket,
    root,
    streaming,
    routes,
    shares: outermost(shares),
    network: settings.network ?? 'kina-cri',
  };
}

/** The settings that `kina cri sandbox-image` needs; the rest of the file is for the service. */
export async function imageSettings(
  flags: Pick<ServeFlags, keyof MirrorFlags | 'insecureRegistry'> & {
    [K in 'config' | 'provider' | 'sandboxImage']: string | undefined;
  },
): Promise<SourceOptions & SandboxImageOptions> {
  const { config, provider, sandboxImage } = flags;
  return { ...(await readFileSettings(config)), ...given({ provider, sandboxImage, ...sourceSettings(flags) }) };
}

/** The part of a settings file that says which sandbox image to build or load, and from where. */
export function settingsFile(settings: CriSettings): string {
  const { provider, sandboxImage, mirror, debianMirror, debianSecurityMirror, offline, insecureRegistry } = settings;
  const file: FileSettings = { provider, sandboxImage, debianMirror, debianSecurityMirror, offline };
  return JSON.stringify({ ...file, mirror, insecureRegistry });
}

/** The settings in flags, with the keys of the file. */
function flagSettings(flags: ServeFlags): FileSettings {
  const counted = (text: string | undefined) => (text === undefined ? undefined : number(text));
  return given({
    socket: flags.socket,
    provider: flags.provider,
    root: flags.root,
    share: several(flags.share),
    network: flags.network,
    route: several(flags.route),
    sandboxImage: flags.sandboxImage,
    cpus: counted(flags.cpus),
    memory: counted(flags.memory),
    streamingAddress: flags.streamingAddress,
    streamingPort: counted(flags.streamingPort),
    ...sourceSettings(flags),
  });
}

const sourceSettings = (flags: Pick<ServeFlags, keyof MirrorFlags | 'insecureRegistry'>): FileSettings => ({
  mirror: several(flags.mirror),
  insecureRegistry: several(flags.insecureRegistry),
  debianMirror: flags.debianMirror,
  debianSecurityMirror: flags.debianSecurityMirror,
  offline: flags.offline || undefined,
});

const several = (values: string[]): string[] | undefined => (values.length > 0 ? values : undefined);

/** Numbers in the file are checked when it is read. */
function numberProblems(flags: ServeFlags): Problems {
  return (['cpus', 'memory', 'streamingPort'] as const).map((key) => {
    const checked = schema.shape[key].safeParse(flags[key] === undefined ? undefined : number(flags[key]));
    if (checked.success) return undefined;
    return `--${key.replace('P', '-p')} ${flags[key]}: ${checked.error.issues[0]?.message}`;
  });
}

/** Decimal; NaN for the other notations that `Number` accepts. */
const number = (text: string): number => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN);

/** The problem that `check` throws; undefined if there is none. */
function said(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof KinaError) return error.hint ? `${error.message}. ${error.hint}` : error.message;
    throw error;
  }
}

function parseRoute(text: string, problems: Problems): { destination: string; gateway: string } {
  const [destination = '', gateway = '', ...rest] = text.split('=');
  const [network = '', bits = '', ...more] = destination.split('/');
  const family = isIP(network);
  const isRoute =
    family !== 0 && /^\d+$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32) && isIP(gateway) === family;
  if (!isRoute || rest.length + more.length > 0)
    problems.push(`--route ${text}: expected CIDR=GATEWAY, e.g. 10.96.0.0/16=192.168.64.2`);
  return { destination, gateway };
}

async function sharedFolders(paths: readonly string[], problems: Problems): Promise<string[]> {
  const folders: string[] = [];
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) folders.push(await realpath(path));
    else if (found) problems.push(`--share ${path}: not a directory`);
    else problems.push(`--share ${path}: no such directory; create it before starting the service`);
  }
  return folders;
}

/** Created if permitted: the kubelet may start after its runtime, and sandboxes mount what exists when they are created. */
async function kubeletFolder(): Promise<string[]> {
  const folder = '/var/lib/kubelet';
  try {
    await mkdir(folder, { recursive: true });
    return [await realpath(folder)];
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM', 'EROFS')) return []; // crictl does not need it
    throw error;
  }
}

/** A state directory, not a cache: records of pods must not be cleaned up. */
async function rootFolder(flag: string | undefined, environment: Environment): Promise<string> {
  if (flag !== undefined) return withoutLinks(resolve(flag));
  if (process.getuid?.() === 0) return withoutLinks('/var/lib/kina-cri');
  if (process.platform === 'darwin')
    return withoutLinks(join(homedir(), 'Library', 'Application Support', 'kina', 'cri'));
  return withoutLinks(join(environment.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'kina', 'cri'));
}

/**
 * Providers mount the target of a link, and sandboxes have a label made from this path, so it must be the same before and
 * after the directory is created.
 */
async function withoutLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT') || dirname(path) === path) return path; // creating it reports the error
    return join(await withoutLinks(dirname(path)), basename(path));
  }
}

const given = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;

/** `-` is standard input. */
async function readFileSettings(path: string | undefined): Promise<FileSettings> {
  if (path === undefined) return {};
  let content: unknown;
  try {
    content = parse(path === '-' ? await streamText(process.stdin) : await readFile(path, 'utf8')) ?? {};
  } catch (error) {
    if (error instanceof YAMLParseError)
      throw new KinaError('usage', `${path} is not valid YAML: ${error.message.split('\n')[0]}`, { cause: error });
    if (!isErrno(error, 'ENOENT', 'EISDIR', 'EACCES')) throw error;
    throw new KinaError('usage', `--config ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new KinaError('usage', `${path} has invalid settings`, {
    details: parsed.error.issues.map((one) => `${one.path.join('.') || 'the file'}: ${one.message}`),
    hint: `Settings: ${Object.keys(schema.shape).join(', ')}.`,
  });
}
