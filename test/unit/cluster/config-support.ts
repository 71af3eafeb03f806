/** Loads cluster files from text. */
import { type Cluster, type LoadOptions, loadCluster } from '../../../src/cluster/config/cluster.ts';
import { KinaError } from '../../../src/host/errors.ts';

type Options = Partial<Omit<LoadOptions, 'overrides'>> & LoadOptions['overrides'];

export function load(
  text: string | undefined,
  { name, image, kernel, rosetta, allowEvenControlPlanes, ...options }: Options = {},
): Cluster {
  const overrides = { name, image, kernel, rosetta, allowEvenControlPlanes };
  return loadCluster({
    text,
    file: text === undefined ? undefined : 'c.yaml',
    overrides,
    cwd: '/home/me',
    env: {},
    ...options,
  });
}

/** A file of kind's format with these further lines. */
export const kind = (lines: string): string => `kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n${lines}\n`;
/** A file of kina's format. */
export const kina = (lines: string): string => `kind: Cluster\napiVersion: kina.dev/v1alpha1\n${lines}\n`;

/** The details of the `config` error that `work` must end with. */
export function problems(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof KinaError && error.code === 'config') return error.details;
    throw error;
  }
  throw new Error('nothing was wrong');
}
