import { defineCommand } from '../command.ts';
import { nameFlag, providerFlag } from '../flags.ts';

export const exportLogs = defineCommand({
  name: 'export logs',
  summary: 'Write the logs and descriptions of all nodes to a directory',
  arguments: [{ name: '[directory]', description: 'target directory (default: a new temporary directory)' }],
  flags: [nameFlag, providerFlag],
  run: () => import('../handlers/export-logs.ts'),
});
