import { sandboxImage } from '../../ops/sandbox-image.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { imageSettings } from './shared/cri-settings.ts';
import { sessionFor } from './shared/session.ts';

interface SandboxImageFlags extends GlobalFlags, MirrorFlags {
  readonly config: string | undefined;
  readonly provider: string | undefined;
  readonly sandboxImage: string | undefined;
  readonly insecureRegistry: string[];
}

export async function run(flags: SandboxImageFlags): Promise<void> {
  const settings = await imageSettings(flags);
  const reference = await withProgress(flags, async (reporter, signal) => {
    const session = await sessionFor(settings, { warn: reporter.warn, info: reporter.info }, signal);
    return sandboxImage(settings, session, (note) => reporter.info(note));
  });
  answer(reference);
}
