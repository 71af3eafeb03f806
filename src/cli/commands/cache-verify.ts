import { defineCommand } from '../command.ts';
import { jsonFlag } from '../flags.ts';

export const cacheVerify = defineCommand({
  name: 'cache verify',
  summary: 'Verify the digest of every blob in the store',
  flags: [jsonFlag],
  run: () => import('../handlers/cache-verify.ts'),
});
