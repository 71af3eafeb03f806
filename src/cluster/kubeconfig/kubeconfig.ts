/**
 * Clusters come into the person's kubeconfig and leave it. Each change is: lock, read, edit the document, write the
 * whole beside it, rename. A reader sees the file before or after, a killed kina leaves it whole, and twenty of them at
 * once, or kubectl among them, lose nothing of each other's.
 *
 * One loss is outside anybody's reach but kubectl's: `kubectl config` reads before it locks, so an entry made between
 * the two looks deleted to it, and it deletes it.
 */
import { constants } from 'node:fs';
import {
  access,
  chown,
  copyFile,
  lstat,
  mkdir,
  open,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isErrno, KinaError } from '../../host/errors.ts';
import { explainDiskFull } from '../../host/files.ts';
import { type Kubeconfig, kubeconfigText, mergeInto, parseKubeconfig, removeFrom } from './document.ts';
import { temporaryName, withLocks } from './lock.ts';
import { type KubeconfigChoice, kubeconfigDestination, kubeconfigPaths } from './paths.ts';

/**
 * Puts the entries of `text`, a kubeconfig, into the person's, in the place of those with the same names, and makes its
 * current context theirs. Returns the file written; nobody but its owner can read it from then on. Throws `kubeconfig`
 * when that file is not understood, cannot be locked or written.
 */
export async function mergeKubeconfig(text: string, choice: KubeconfigChoice = {}): Promise<string> {
  const added = parseKubeconfig(text, 'the kubeconfig of the cluster');
  const path = await kubeconfigDestination(choice);
  await mkdir(dirname(path), { recursive: true }).catch((error) => {
    throw failure(path, 'written', error);
  });
  await edit(path, 0o600, (config) => {
    mergeInto(config, added);
    return true;
  });
  return path;
}

/**
 * Removes the cluster, user and context `name` from every kubeconfig of the person, and the current context that points
 * there. Returns the files changed; all others are left untouched. Throws `kubeconfig` after it has been to all files
 * when one of them could not be read or written.
 */
export async function removeFromKubeconfig(name: string, choice: KubeconfigChoice = {}): Promise<string[]> {
  const changed: string[] = [];
  const failures: KinaError[] = [];
  for (const path of kubeconfigPaths(choice.explicit, choice.env)) {
    try {
      if (!(await stat(path).catch(() => undefined))) continue;
      if (await edit(path, 0o777, (config) => removeFrom(config, name))) changed.push(path);
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
      // Where nothing can be locked nothing could be changed either, which matters only if something has to be.
      if (!(await isKnownWithout(path, name))) failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (!first) return changed;
  if (others.length === 0 && changed.length === 0) throw first;
  throw new KinaError('kubeconfig', `${name} could not be removed from every kubeconfig`, {
    details: [...failures.map(({ message }) => message), ...changed.map((path) => `removed from ${path}`)],
    hint: first.hint!,
    cause: first,
  });
}

/** True for a readable kubeconfig that does not know `name`, where nobody like us could make a lock or a new file. */
async function isKnownWithout(path: string, name: string): Promise<boolean> {
  const folders = [dirname(resolve(path)), dirname(await followLinks(path).catch(() => path))];
  const writable = await Promise.all(folders.map((folder) => access(folder, constants.W_OK)))
    .then(() => true)
    .catch(() => false);
  if (writable) return false;
  return read(path)
    .then((text) => !removeFrom(parseKubeconfig(text, path), name))
    .catch(() => false);
}

/** Edits one file under its lock; `mode` is what may stay of its permissions. False when `change` finds nothing to do. */
async function edit(path: string, mode: number, change: (config: Kubeconfig) => boolean): Promise<boolean> {
  const target = await followLinks(path);
  // Whoever goes through a link locks the link's name, whoever goes to the file its own.
  return withLocks([resolve(path), target], async (token) => {
    const config = parseKubeconfig(await read(target, path), path);
    if (!change(config)) return false;
    await replace(target, token, kubeconfigText(config), mode);
    return true;
  });
}

/** Empty when there is no such file. */
async function read(file: string, path = file): Promise<string> {
  try {
    // Bytes that are not UTF-8 would not survive being written again.
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw failure(path, 'read', error);
  }
}

async function replace(file: string, token: string, text: string, mode: number): Promise<void> {
  const temporary = temporaryName(file, token);
  try {
    const old = await stat(file).catch(() => undefined);
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      if (old) {
        await handle.chmod(old.mode & mode);
        // With sudo it stays the person's file.
        if (old.uid !== process.getuid?.() || old.gid !== process.getgid?.())
          await chown(temporary, old.uid, old.gid).catch(() => {});
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      await rename(temporary, file);
    } catch (error) {
      // A file that is mounted by itself, as into a development container, can only be overwritten.
      if (!isErrno(error, 'EBUSY')) throw error;
      await copyFile(temporary, file);
      await rm(temporary);
    }
  } catch (error) {
    await rm(temporary, { force: true });
    try {
      explainDiskFull(error, file);
    } catch (explained) {
      throw explained instanceof KinaError ? explained : failure(file, 'written', error);
    }
  }
}

/** The file behind all links, which need not exist: people keep their kubeconfig elsewhere and link to it. */
async function followLinks(path: string, depth = 0): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT') || depth > 40) throw failure(path, 'read', error);
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isSymbolicLink()) return resolve(path);
    return followLinks(resolve(dirname(path), await readlink(path)), depth + 1);
  }
}

function failure(path: string, done: 'read' | 'written', error: unknown): KinaError {
  return new KinaError('kubeconfig', `the kubeconfig ${path} cannot be ${done}: ${(error as Error).message}`, {
    hint: 'Correct the file or its permissions, or name another with --kubeconfig or KUBECONFIG.',
    cause: error,
  });
}
