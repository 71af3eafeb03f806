import { sandboxImage } from '../../ops/sandbox-image.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { sessionFor } from './shared/session.ts';

interface SandboxImageFlags extends GlobalFlags, MirrorFlags {
  readonly provider: string | undefined;
  readonly sandboxImage: string | undefined;
  readonly insecureRegistry: string[];
}

export async function run(flags: SandboxImageFlags): Promise<void> {
  const reference = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, { warn: reporter.warn, info: reporter.info }, signal);
    return sandboxImage(flags, tools, signal, (note) => reporter.info(note));
  });
  answer(reference);
}
