#!/usr/bin/env node
// Checks the Node version before any import: newer syntax and modules would fail with obscure errors.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `kina: Node.js ${process.versions.node} is too old, 22.19 or later is needed.\n` +
      'Install a current one from https://nodejs.org, or in a clone of kina run it as `npm run -s kina -- ...`,\n' +
      'which uses the Node.js that `npm ci` installs with the project.\n',
  );
  process.exit(1);
}
// glibc maps ever bigger blocks into its heaps once one was freed, and its heaps keep what they had: unpacking two platforms
// took 340 MB, with a fixed threshold 250. It reads the setting only when a process starts; 40 ms, for commands that build.
const name = 'MALLOC_MMAP_THRESHOLD_';
const builds = ['build', 'create', 'verify'].includes(process.argv.slice(2).find((word) => !word.startsWith('-')));
if (builds && process.platform === 'linux' && process.execve && process.env[name] === undefined)
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    ...process.env,
    [name]: '4194304',
  });
// Compiled code is kept in the platform's temporary folder: half of a short command's time is compiling.
(await import('node:module')).enableCompileCache?.();
const { main } = await import('../dist/cli/main.js').catch((error) => {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND' || !String(error.message).includes('/dist/cli/main.js')) throw error;
  process.stderr.write('kina: not built yet; run `npm ci` (or `npm run build`) in the folder of kina first.\n');
  process.exit(1);
});
await main(process.argv.slice(2));
