import { execInNode } from '../../cluster/state.ts';
import type { GlobalFlags } from '../terminal/context.ts';
import { warnOfEnvironment } from './shared/cluster.ts';

interface ExecFlags extends GlobalFlags {
  readonly provider: string | undefined;
}

export async function run(flags: ExecFlags, node: string, command: string[]): Promise<void> {
  warnOfEnvironment(flags);
  process.exitCode = await execInNode({ node, command, provider: flags.provider });
}
