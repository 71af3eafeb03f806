/**
 * What Apple's `container` says when it refuses, and what that means. The program has one exit code for everything at run
 * time (1) and one for a command line it does not know (64), so the words decide; matched are only the parts that
 * upstream writes as literals, never whole lines.
 */
import { KinaError } from '../host/errors.ts';
import { lastLines, type ProcessResult } from '../host/process.ts';

/** What a refusal means, as far as kina acts on it. */
export type Trouble =
  | 'absent'
  | 'exists'
  | 'not-running'
  | 'in-use'
  | 'overlap'
  | 'overloaded'
  | 'no-service'
  | 'no-networks'
  | 'no-binary'
  | 'old'
  | 'other';

interface Words {
  readonly pattern: RegExp;
  readonly trouble: Trouble;
  readonly hint?: string;
}

/** Why versions below this cannot host a node; where the version is checked and where a flag is refused. */
export const minimumVersion = '1.2.1';
export const whyMinimum =
  'Since 1.2.0 it makes /proc/sys read-only, which kubelet and the pod network write; only 1.2.1 and later can leave that out.';
const upgrade = `kina needs container ${minimumVersion} or later. ${whyMinimum} Upgrade it, then \`container system stop\` and \`container system start\`.`;

export const oneNodeOnly =
  'On macOS 15 containers cannot reach each other and there is one network only: make a cluster of one node, or update to macOS 26.';

/** In the order of their precision: a cause inside a longer message comes before the message. */
const table: readonly Words[] = [
  {
    pattern: /XPC connection error/,
    trouble: 'no-service',
    hint: 'Its service is not running: `container system start --enable-kernel-install`.',
  },
  { pattern: /XPC timeout for request/, trouble: 'overloaded', hint: 'The service is overloaded: try again.' },
  {
    pattern: /default kernel not configured/,
    trouble: 'other',
    hint: 'No kernel is installed yet: `container system start --enable-kernel-install`.',
  },
  {
    pattern: /under Rosetta Translation/,
    trouble: 'other',
    hint: 'This process runs translated from x86-64: use a terminal and a Node.js for arm64.',
  },
  { pattern: /Plugin 'container-network' not found|requires macOS 26/, trouble: 'no-networks', hint: oneNodeOnly },
  { pattern: /Unknown option|Plugin 'container-/, trouble: 'old', hint: upgrade },
  { pattern: /failed to find target executable/, trouble: 'no-binary' },
  {
    pattern: /is not running|container is stopped|failed to create process/,
    trouble: 'not-running',
    hint: 'The node is down; `container logs` and `container logs --boot` of its name say why.',
  },
  {
    pattern: /Address already in use/,
    trouble: 'other',
    hint: 'Something else listens on that port of the Mac: choose another hostPort or apiServerPort.',
  },
  {
    pattern: /Permission denied while binding to host port/,
    trouble: 'other',
    hint: 'Ports below 1024 need root: choose a higher hostPort.',
  },
  { pattern: /may not overlap/, trouble: 'other', hint: 'One host port can be published once, whatever the address.' },
  { pattern: /overlaps an existing network/, trouble: 'overlap' },
  { pattern: /with referring containers|is currently in use/, trouble: 'in-use' },
  { pattern: /already exists/, trouble: 'exists', hint: 'Choose another --name, or `kina delete cluster` first.' },
  {
    pattern: /^(Error: )?platform linux\//m,
    trouble: 'other',
    hint: 'The image has nothing for this platform: build or pull it for linux/arm64.',
  },
  { pattern: /kernel file not found/, trouble: 'other', hint: 'Correct `kernel` in the configuration.' },
  {
    pattern: /mount source path|does not exist|is not a directory/,
    trouble: 'other',
    hint: 'A host path of extraMounts is not there (any more).',
  },
  {
    pattern:
      /container not found:|get failed: container|notFound:|no such container:|image not found:|network not found:|network \S+ not found|failed to delete one or more (images|networks)/,
    trouble: 'absent',
  },
  {
    pattern: /No space left on device|ENOSPC/i,
    trouble: 'other',
    hint: 'The disk of the Mac is full: remove unused images and containers.',
  },
];

/** What a call that did not end with 0 means. */
export function troubleOf({ stderr }: Pick<ProcessResult, 'stderr'>): Trouble {
  return table.find(({ pattern }) => pattern.test(stderr))?.trouble ?? 'other';
}

/** The failure of a call as an error of kina, with the program's own words and what to do. */
export function appleFailure(args: readonly string[], result: ProcessResult): KinaError {
  const { stderr, stdout, code, timedOut } = result;
  const words = args
    .filter((one) => !one.startsWith('-'))
    .slice(0, args[0] === 'image' || args[0] === 'network' ? 2 : 1);
  const how = timedOut ? 'did not end in time' : `ended with ${code}`;
  return new KinaError('provider', `\`container ${words.join(' ')}\` ${how}`, {
    details: lastLines(stderr || stdout, 8),
    hint: table.find(({ pattern }) => pattern.test(stderr))?.hint ?? '`kina doctor` looks at the whole.',
  });
}

export function tooOld(found: string): KinaError {
  return new KinaError('provider', `container ${found} cannot host Kubernetes nodes`, {
    details: [whyMinimum],
    hint: upgrade,
  });
}
