/** Two folders as root sees them, entry by entry: everything that an unpacked image can differ in. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readTar } from '../../src/tree/tar-read.ts';

/** Mounts a disk image for reading while `work` runs. */
export async function withMounted(disk: string, at: string, work: () => Promise<void>): Promise<void> {
  execFileSync('mount', ['-t', 'ext4', '-o', 'loop,ro', disk, at], { stdio: 'pipe' });
  try {
    await work();
  } finally {
    execFileSync('umount', [at], { stdio: 'pipe' });
  }
}

/** `PATH: PROPERTY expected, found`, for all paths below the two folders. */
export async function differences(expected: string, found: string): Promise<string[]> {
  const [a, b] = [await describeTree(expected), await describeTree(found)];
  return [...new Set([...a.keys(), ...b.keys()])].sort().flatMap((path) => {
    const [one, other] = [a.get(path), b.get(path)];
    if (!one || !other) return [`${path}: ${one ? 'missing' : 'added'}`];
    return Object.keys(one)
      .filter((key) => one[key] !== other[key])
      .map((key) => `${path}: ${key} ${one[key]}, ${other[key]}`);
  });
}

/** As GNU tar finds it, which also counts names of one file, reads attributes and keeps fractions of seconds. */
async function describeTree(root: string): Promise<Map<string, Record<string, string>>> {
  const tar = spawn(
    'tar',
    ['-C', root, ...'--create --format=pax --sort=name --xattrs --xattrs-include=* .'.split(' ')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const described = new Map<string, Record<string, string>>();
  for await (const { path, type, mode, uid, gid, mtime, xattrs, ...rest } of readTar(tar.stdout, root, {
    rootfs: true,
  })) {
    const hash = createHash('sha256');
    if ('body' in rest) for await (const chunk of rest.body) hash.update(chunk);
    described.set(path, {
      type,
      mode: mode.toString(8),
      owner: `${uid}:${gid}`,
      mtime: `${mtime}`,
      content: hash.digest('hex'),
      target: 'target' in rest ? rest.target : '',
      device: 'kind' in rest ? `${rest.kind} ${rest.major}:${rest.minor}` : '',
      xattrs: [...(xattrs ?? [])]
        .map(([name, value]) => `${name}=${Buffer.from(value).toString('hex')}`)
        .sort()
        .join(),
    });
  }
  return described;
}
