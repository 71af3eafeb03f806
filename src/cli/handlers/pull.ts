import { pullImage } from '../../ops/registry/pull.ts';
import { answer, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { platforms } from './shared/flag-values.ts';
import { sessionFor } from './shared/session.ts';

interface PullFlags extends GlobalFlags {
  readonly mirror: string[];
  readonly platform: string | undefined;
  readonly insecureRegistry: string[];
}

export async function run(flags: PullFlags, ref: string): Promise<void> {
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const { name, root } = await withProgress(flags, async (reporter, signal) => {
    const session = await sessionFor(flags, reporter, signal);
    return pullImage({ ...session, image: ref, platforms: wanted });
  });
  answer(`${name.replace(/@.*$/, '')}@${root.digest}`);
}
