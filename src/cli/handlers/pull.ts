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
  // A name with a digest in it would be wrong as soon as somebody tags another image with it.
  const name = tag === undefined ? ref : ref.replace(/@.*$/, '');
  const image = await withProgress(flags, async (reporter, signal) =>
    pullImage(ref, name, wanted, await sessionFor(flags, reporter, signal)),
  );
  answer(`${name.replace(/@.*$/, '')}@${image.digest}`);
}
