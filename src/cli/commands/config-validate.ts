import { defineCommand } from '../command.ts';
import { evenControlPlanesFlag } from '../flags.ts';

export const configValidate = defineCommand({
  name: 'config validate',
  summary: 'Validate a cluster configuration',
  arguments: [{ name: '<file>', description: 'configuration file; - reads standard input' }],
  flags: [evenControlPlanesFlag],
  run: () => import('../handlers/config-validate.ts'),
});
