import { defineCommand, flag } from '../command.ts';
import { platformNames, recipeNames } from '../flags.ts';

export const ciMatrix = defineCommand({
  name: 'ci matrix',
  summary: 'List the CI jobs that build node images: Kubernetes versions × platforms',
  flags: [
    flag('--versions <list>', 'comma-separated list of minors or full versions (default: the newest three minors)'),
    flag('--platforms <list>', 'comma-separated list of platforms', {
      default: 'linux/amd64,linux/arm64',
      values: platformNames,
    }),
    flag('--join-platforms', 'one job per version, building all platforms'),
    flag('--changed-since <ref>', 'only jobs affected by changes since this git commit, branch or tag'),
    flag('--recipe <name|file>', 'with --changed-since: recipe of the jobs (default: node)', { values: recipeNames }),
    flag('--lock <file>', 'with --changed-since: lock of the jobs (repeatable; default: kina.lock)', {
      repeatable: true,
    }),
    flag('--also <path>', 'with --changed-since: file or directory that affects every job (repeatable)', {
      repeatable: true,
    }),
    flag('--json', 'output JSON on one line, for the matrix of a job'),
  ],
  examples: [
    ['kina ci matrix --versions 1.34,1.35'],
    ['kina ci matrix --changed-since origin/main --recipe recipes/mine.yaml --also .github/workflows'],
    ['echo "matrix=$(kina ci matrix --join-platforms --json)" >> "$GITHUB_OUTPUT"'],
  ],
  run: () => import('../handlers/ci-matrix.ts'),
});
