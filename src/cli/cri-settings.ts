/** The settings of `kina cri serve`, from flags and the file that `--config` names; every problem is told at once. */
import { mkdir, readFile, realpath } from 'node:fs/promises';
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { socketPath } from '../cri/socket.ts';
import { isErrno, KinaError } from '../host/errors.ts';
import type { CriSettings } from '../ops/cri.ts';
import type { GlobalFlags } from './context.ts';
import type { MirrorFlags } from './shared.ts';

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

const schema = z.strictObject({
  socket: z.string().optional(),
  provider: z.string().optional(),
  root: z.string().optional(),
  share: z.array(z.string()).optional(),
  network: z.string().optional(),
  route: z.array(z.string()).optional(),
  sandboxImage: z.string().optional(),
  cpus: z.number().positive().optional(),
  memory: z.number().int().min(200).optional(),
  streamingAddress: z.string().optional(),
  streamingPort: z.number().int().min(0).max(65535).optional(),
});
type Wishes = z.infer<typeof schema>;

export async function readSettings(flags: ServeFlags, standardSocket: string): Promise<CriSettings> {
  const problems: string[] = [];
  const file = flags.config === undefined ? {} : await readFileSettings(flags.config);
  const number = (name: string, text: string | undefined): number | undefined => {
    if (text === undefined) return undefined;
    if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
    problems.push(`--${name} ${text}: expected a number`);
    return undefined;
  };
  const wishes: Wishes = {
    ...file,
    ...given({
      socket: flags.socket,
      provider: flags.provider,
      root: flags.root,
      share: flags.share.length > 0 ? flags.share : undefined,
      network: flags.network,
      route: flags.route.length > 0 ? flags.route : undefined,
      sandboxImage: flags.sandboxImage,
      cpus: number('cpus', flags.cpus),
      memory: number('memory', flags.memory),
      streamingAddress: flags.streamingAddress,
      streamingPort: number('streaming-port', flags.streamingPort),
    }),
  };
  const checked = schema.safeParse(wishes);
  if (!checked.success) problems.push(...checked.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`));
  const address = wishes.streamingAddress ?? '127.0.0.1';
  if (isIP(address) === 0)
    problems.push(`--streaming-address ${address}: expected an IP address that kubelet can dial`);
  const routes = (wishes.route ?? []).flatMap((text) => {
    const [destination = '', gateway = ''] = text.split('=');
    const [network = '', bits = ''] = destination.split('/');
    if (isIP(network) !== 0 && /^\d+$/.test(bits) && isIP(gateway) === isIP(network)) return [{ destination, gateway }];
    problems.push(`--route ${text}: expected CIDR=GATEWAY, e.g. 10.96.0.0/16=192.168.64.2`);
    return [];
  });
  const shares: string[] = [];
  if (wishes.share === undefined) shares.push(...(await kubeletFolder()));
  for (const share of wishes.share ?? []) {
    const real = await realpath(share).catch(() => undefined);
    if (real) shares.push(real);
    else problems.push(`--share ${share}: there is no such folder; make it before sandboxes are to see it`);
  }
  let socket = '';
  try {
    socket = socketPath(wishes.socket ?? standardSocket);
  } catch (error) {
    problems.push((error as Error).message);
  }
  if (problems.length > 0)
    throw new KinaError('usage', 'these settings cannot be served with', {
      details: problems,
      hint: 'See `kina cri serve --help`.',
    });
  return {
    ...{ socket, shares, routes },
    provider: wishes.provider,
    root: await rootFolder(wishes.root),
    network: wishes.network ?? 'kina-cri',
    sandboxImage: wishes.sandboxImage,
    cpus: wishes.cpus,
    memory: wishes.memory,
    streaming: { address, port: wishes.streamingPort ?? 0 },
    insecureRegistries: flags.insecureRegistry,
    mirrors: flags.mirror,
  };
}

/** Made where it may be: the kubelet may come after its runtime, and sandboxes see what is there when they are made. */
async function kubeletFolder(): Promise<string[]> {
  const folder = '/var/lib/kubelet';
  try {
    await mkdir(folder, { recursive: true });
    return [await realpath(folder)];
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM', 'EROFS')) return []; // crictl needs none
    throw error;
  }
}

/** State, not cache: records of pods must not be cleaned away. */
async function rootFolder(flag: string | undefined): Promise<string> {
  if (flag !== undefined) return realParent(resolve(flag));
  if (process.getuid?.() === 0) return '/var/lib/kina-cri';
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'kina', 'cri');
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'kina', 'cri');
}

/** Without links where it is there already: providers mount what a link leads to. */
const realParent = (path: string): Promise<string> => realpath(path).catch(() => path);

const given = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;

async function readFileSettings(path: string): Promise<Wishes> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EISDIR', 'EACCES')) throw error;
    throw new KinaError('usage', `--config ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  let content: unknown;
  try {
    content = parse(text) ?? {};
  } catch (error) {
    throw new KinaError('usage', `${path} is no YAML: ${(error as Error).message.split('\n')[0]}`, { cause: error });
  }
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new KinaError('usage', `${path} has settings that cannot be served with`, {
    details: parsed.error.issues.map((one) => `${one.path.join('.') || 'the file'}: ${one.message}`),
    hint: `It knows ${Object.keys(schema.shape).join(', ')}.`,
  });
}
