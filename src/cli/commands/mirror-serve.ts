import { defineCommand, flag } from '../command.ts';

export const mirrorServe = defineCommand({
  name: 'mirror serve',
  summary: 'Serve a mirror over HTTP until interrupted',
  arguments: [{ name: '<dir>', description: 'directory created by `kina mirror create`' }],
  flags: [
    flag('--port <number>', 'port to listen on; 0 picks a free one', { default: '8080' }),
    flag('--host <address>', 'address to listen on; 0.0.0.0 accepts connections from other machines', {
      default: '127.0.0.1',
    }),
    flag('--json', 'output JSON on one line'),
  ],
  run: () => import('../handlers/mirror-serve.ts'),
});
