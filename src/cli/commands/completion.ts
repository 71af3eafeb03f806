import { defineCommand } from '../command.ts';

const shells = ['bash', 'zsh', 'fish', 'powershell'] as const;

export const completion = defineCommand({
  name: 'completion',
  summary: 'Print the completion script of a shell',
  arguments: [{ name: '<shell>', description: shells.join(', '), values: () => shells }],
  examples: [
    ['source <(kina completion bash)', 'in ~/.bashrc; for zsh use zsh, in ~/.zshrc'],
    ['kina completion fish | source', 'in ~/.config/fish/config.fish'],
    ['kina completion powershell | Out-String | Invoke-Expression', 'in $PROFILE'],
  ],
  run: () => import('../handlers/completion.ts'),
});
