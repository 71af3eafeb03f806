import { parseReference } from '../../oci/reference.ts';
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
  const { tag } = parseReference(ref);
  // The store saves the tag without a digest, which would be wrong as soon as the tag moves.
  const name = tag === undefined ? ref : ref.replace(/@.*$/, '');
  const image = await withProgress(flags, async (reporter, signal) =>
    pullImage(ref, name, wanted, await sessionFor(flags, reporter, signal)),
  );
  answer(`${name.replace(/@.*$/, '')}@${image.digest}`);
}
