/**
 * Adds clusters to the user's kubeconfig and removes them. Each change locks the file, reads it, edits the document, writes
 * a temporary file and renames it. Readers see the old or the new file, a killed process leaves a complete file, and
 * concurrent changes by kina or kubectl are not lost.
 *
 * One case cannot be prevented: `kubectl config` reads before it locks, so it deletes an entry that was added in between.
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
 * Merges the kubeconfig `text` into the user's kubeconfig, replaces entries of the same names, and sets the current context.
 * Returns the path of the changed file, which afterwards only its owner can read. Throws `kubeconfig` if the file is
 * invalid, or cannot be locked or written.
 */
export async function mergeKubeconfig(text: string, choice: KubeconfigChoice = {}): Promise<string> {
  const added = parseKubeconfig(text, 'the kubeconfig of the cluster');
  const path = await kubeconfigDestination(choice);
  await mkdir(dirname(path), { recursive: true }).catch((error) => {
    throw failure(path, 'write', error);
  });
  await edit(path, 0o600, (config) => {
    mergeInto(config, added);
    return true;
  });
  return path;
}

/**
 * Removes the cluster, user and context `name` from all kubeconfig files of the user, and unsets the current context if it
 * is `name`. Returns the changed files. Throws `kubeconfig` after processing all files if one could not be read or written.
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
      // A read-only file is a problem only if it contains the entry.
      if (!(await isReadOnlyWithout(path, name))) failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (!first) return changed;
  if (others.length === 0 && changed.length === 0) throw first;
  throw new KinaError('kubeconfig', `cannot remove ${name} from all kubeconfig files`, {
    details: [...failures.map(({ message }) => message), ...changed.map((path) => `removed from ${path}`)],
    hint: first.hint!,
    cause: first,
  });
}

/** True for a kubeconfig without `name` in a folder that is not writable. */
async function isReadOnlyWithout(path: string, name: string): Promise<boolean> {
  const folders = [dirname(resolve(path)), dirname(await followLinks(path).catch(() => path))];
  const writable = await Promise.all(folders.map((folder) => access(folder, constants.W_OK)))
    .then(() => true)
    .catch(() => false);
  if (writable) return false;
  return read(path)
    .then((text) => !removeFrom(parseKubeconfig(text, path), name))
    .catch(() => false);
}

/** Edits a file under its lock. `mode` masks its permissions. Returns false if `change` changed nothing. */
async function edit(path: string, mode: number, change: (config: Kubeconfig) => boolean): Promise<boolean> {
  const target = await followLinks(path);
  // Other programs lock the name that they use: that of a link or that of its target.
  return withLocks([resolve(path), target], async (token) => {
    const config = parseKubeconfig(await read(target, path), path);
    if (!change(config)) return false;
    await replace(target, token, kubeconfigText(config), mode);
    return true;
  });
}

/** An empty string for a missing file. */
async function read(file: string, path = file): Promise<string> {
  try {
    // Invalid UTF-8 would be changed when the file is written.
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
        // With sudo the file keeps its owner.
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
      // A file that is a mount, as in development containers, cannot be replaced, only overwritten.
      if (!isErrno(error, 'EBUSY')) throw error;
      await copyFile(temporary, file);
      await rm(temporary);
    }
  } catch (error) {
    await rm(temporary, { force: true });
    try {
      explainDiskFull(error, file);
    } catch (explained) {
      throw explained instanceof KinaError ? explained : failure(file, 'write', error);
    }
  }
}

/** The target of all links. It need not exist. */
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

function failure(path: string, action: 'read' | 'write', error: unknown): KinaError {
  return new KinaError('kubeconfig', `cannot ${action} the kubeconfig ${path}: ${(error as Error).message}`, {
    hint: 'Correct the file or its permissions, or use another file with --kubeconfig or KUBECONFIG.',
    cause: error,
  });
}
