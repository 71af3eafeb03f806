import { defineCommand } from '../command.ts';
import { nodeNames, providerFlag } from '../flags.ts';

export const exec = defineCommand({
  name: 'exec',
  summary: 'Run a command in a node',
  arguments: [
    { name: '<node>', description: 'name of the node', values: nodeNames },
    { name: '<command...>', description: 'program and arguments, after --' },
  ],
  flags: [providerFlag],
  examples: [['kina exec kina-control-plane -- crictl ps']],
  run: () => import('../handlers/exec.ts'),
});
