import { defineCommand } from '../command.ts';
import { jsonFlag, mirrorFlags } from '../flags.ts';

export const mirrorCreate = defineCommand({
  name: 'mirror create',
  summary: 'Copy everything that a lock pins into a directory that works as a mirror',
  arguments: [
    { name: '<lock>', description: 'lock file, as written by `kina lock`' },
    { name: '<dir>', description: 'target directory; valid files in it are kept' },
  ],
  flags: [...mirrorFlags, jsonFlag],
  run: () => import('../handlers/mirror-create.ts'),
});
