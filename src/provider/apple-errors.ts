/**
 * Classifies the failures of Apple's `container` by their messages. The exit codes do not help: 1 for every failure at run
 * time, 64 for an unknown command line. The patterns match only parts that are literals in upstream's source, never whole
 * lines.
 */
import { KinaError } from '../host/errors.ts';
import { lastLines, type ProcessResult } from '../host/process.ts';

/** The classes that kina handles differently. */
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

/** Older versions cannot run a node. */
export const minimumVersion = '1.2.1';
export const whyMinimum =
  'kubelet and the pod network write to /proc/sys. container 1.2.0 makes it read-only, and only 1.2.1 and later can turn that off.';
const upgrade = `kina needs container ${minimumVersion} or later. ${whyMinimum} Upgrade it, then run \`container system stop\` and \`container system start\`.`;

export const oneNodeOnly =
  'On macOS 15 containers share one network and cannot reach each other. Create a cluster with one node, or update to macOS 26.';

/** The most specific patterns come first: a message may contain its cause. */
const table: readonly Words[] = [
  {
    pattern: /XPC connection error/,
    trouble: 'no-service',
    hint: 'The service is not running. Start it: `container system start --enable-kernel-install`.',
  },
  { pattern: /XPC timeout for request/, trouble: 'overloaded', hint: 'The service is overloaded: try again.' },
  {
    pattern: /default kernel not configured/,
    trouble: 'other',
    hint: 'No kernel is installed. Install one: `container system start --enable-kernel-install`.',
  },
  {
    pattern: /under Rosetta Translation/,
    trouble: 'other',
    hint: 'kina runs under Rosetta. Use a terminal and a Node.js for arm64.',
  },
  { pattern: /Plugin 'container-network' not found|requires macOS 26/, trouble: 'no-networks', hint: oneNodeOnly },
  { pattern: /Unknown option|Plugin 'container-/, trouble: 'old', hint: upgrade },
  { pattern: /failed to find target executable/, trouble: 'no-binary' },
  {
    pattern: /is not running|container is stopped|failed to create process/,
    trouble: 'not-running',
    hint: 'The node is not running. `container logs NODE` and `container logs --boot NODE` show why.',
  },
  {
    pattern: /Address already in use/,
    trouble: 'other',
    hint: 'The port is in use on the Mac: choose another hostPort or apiServerPort.',
  },
  {
    pattern: /Permission denied while binding to host port/,
    trouble: 'other',
    hint: 'Ports below 1024 need root: choose a higher hostPort.',
  },
  {
    pattern: /may not overlap/,
    trouble: 'other',
    hint: 'A host port can be published only once, even on different addresses.',
  },
  { pattern: /overlaps an existing network/, trouble: 'overlap' },
  { pattern: /with referring containers|is currently in use/, trouble: 'in-use' },
  { pattern: /already exists/, trouble: 'exists', hint: 'Choose another --name, or run `kina delete cluster` first.' },
  {
    pattern: /^(Error: )?platform linux\//m,
    trouble: 'other',
    hint: 'The image does not have this platform: build or pull it for linux/arm64.',
  },
  { pattern: /kernel file not found/, trouble: 'other', hint: 'Correct `kernel` in the configuration.' },
  {
    pattern: /mount source path|does not exist|is not a directory/,
    trouble: 'other',
    hint: 'Check the hostPath of each entry in extraMounts: one does not exist.',
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

/** Classifies a call that failed. */
export function troubleOf({ stderr }: Pick<ProcessResult, 'stderr'>): Trouble {
  return table.find(({ pattern }) => pattern.test(stderr))?.trouble ?? 'other';
}

/** The error for a failed call, with the output of the program and a hint. */
export function appleFailure(args: readonly string[], result: ProcessResult): KinaError {
  const { stderr, stdout, code, timedOut } = result;
  const words = args
    .filter((one) => !one.startsWith('-'))
    .slice(0, args[0] === 'image' || args[0] === 'network' ? 2 : 1);
  const how = timedOut ? 'timed out' : `failed with exit code ${code}`;
  return new KinaError('provider', `\`container ${words.join(' ')}\` ${how}`, {
    details: lastLines(stderr || stdout, 8),
    hint: table.find(({ pattern }) => pattern.test(stderr))?.hint ?? 'Run `kina doctor` to check this machine.',
  });
}

export function tooOld(found: string): KinaError {
  return new KinaError('provider', `container ${found} cannot run Kubernetes nodes`, {
    details: [whyMinimum],
    hint: upgrade,
  });
}
