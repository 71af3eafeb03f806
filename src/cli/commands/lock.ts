import { defineCommand, flag } from '../command.ts';
import { jsonFlag, sourceFlags } from '../flags.ts';

export const lock = defineCommand({
  name: 'lock',
  summary: 'Pin every artifact of a recipe in a lock file, for `kina build node-image --locked`',
  arguments: [{ name: '[source]', description: 'Kubernetes source, as for build node-image' }],
  flags: [
    ...sourceFlags,
    flag('-o, --output <file>', 'lock file to write; - writes to standard output', { default: 'kina.lock' }),
    flag(
      '--upgrade [name]',
      'update the lock file to the newest patch of its Kubernetes minor; with NAME, update only kubernetes, a Debian package, or a step such as runc',
    ),
    jsonFlag,
  ],
  run: () => import('../handlers/lock.ts'),
});
