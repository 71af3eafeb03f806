/** Finds a member (`kubelet`, `kube-proxy.tar`) among pinned artifacts, for all kinds of source. */
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { type Content, sliceContent } from '../../tree/entry.ts';
import type { Pins, TreeContext } from '../step.ts';
import { SERVER_TARBALL } from './model.ts';

const PREFIX = 'kubernetes/server/bin/';

/** The members' contents, in the order asked for. Throws `not-found` when a server tarball lacks one. */
export async function memberContents(members: readonly string[], pins: Pins, context: TreeContext): Promise<Content[]> {
  const tarball = pins.artifacts.find((a) => a.name === SERVER_TARBALL);
  if (!tarball)
    return Promise.all(
      members.map(async (member) => {
        const artifact = pins.artifacts.find((a) => a.name === member);
        if (!artifact)
          throw new KinaError('lock', `${context.owner}: ${member} is not pinned`, { hint: 'Run `kina lock` again.' });
        const { path } = await context.fetcher.fetch(artifact);
        return sliceContent(path, 0, artifact.size, artifact.digest);
      }),
    );
  const fetched = await context.fetcher.fetch(tarball);
  const wanted = new Set(members.map((m) => PREFIX + m));
  const task = context.reporter.task('unpack', `${SERVER_TARBALL} (${members.join(', ')})`);
  try {
    const entries = await context.unpacker.unpack(digestOf([tarball.digest, [...wanted].sort()]).slice(7), {
      owner: context.owner,
      file: fetched.path,
      select: (path) => wanted.has(path),
      onProgress: (bytes) => task.progress(bytes),
    });
    const found = members.map((member) => {
      const entry = entries.find((e) => e.path === PREFIX + member);
      if (entry?.type !== 'file')
        throw new KinaError('not-found', `the server tarball has no ${PREFIX}${member}`, {
          hint: 'Client and node tarballs are not enough; a server tarball contains kubeadm, kubelet, kubectl and the images.',
        });
      return entry.content;
    });
    task.done();
    return found;
  } catch (error) {
    task.fail();
    throw error;
  }
}
