/** The resolver against apt, on package sets drawn from a suite's own index. */
import { openArchives, readIndexes } from '../../../src/debian/index.ts';
import { resolveClosure } from '../../../src/debian/resolve.ts';
import { KinaError } from '../../../src/host/errors.ts';
import { openApt } from './apt.ts';
import { drawSets } from './random-sets.ts';
import { archive, context } from './support.ts';

/** Each suite on one architecture; what differs between architectures is the data. */
export const suites = [
  ['bookworm', 'amd64'],
  ['trixie', 'amd64'],
  ['forky', 'arm64'],
  ['sid', 'amd64'],
] as const;

export interface Comparison {
  /** Sets of which both made the same closure. */
  readonly same: number;
  /** Sets that both refused: they conflict, or the archive lacks what they depend on. */
  readonly refused: number;
  /** One line per set that the two disagree about. */
  readonly differences: readonly string[];
}

export async function compareClosures(suite: string, architecture: string, count: number): Promise<Comparison> {
  const apt = await openApt(suite, architecture);
  const [open] = await openArchives([archive(suite)], context);
  const [index] = await readIndexes(open!, architecture, context);
  const { packages } = index!;
  const names = (await apt.names()).filter((name) => packages.versions(name).length > 0);
  let [same, refused] = [0, 0];
  const differences: string[] = [];
  for (const set of drawSets(names, count, 'kina')) {
    const theirs = await apt.closure([...set, ...packages.essential]);
    let ours: string[] | undefined;
    try {
      const closure = resolveClosure({ indexes: [index!], architecture, packages: set, essential: true });
      ours = closure.map(({ record }) => `${record.name} ${record.version}`);
    } catch (error) {
      if (!(error instanceof KinaError) || error.code !== 'debian') throw error;
    }
    if (!ours && !theirs) refused++;
    else if (!ours || !theirs) differences.push(`${set.join(' ')}: only ${ours ? 'kina' : 'apt'} finds a way`);
    else {
      const extra = ours.filter((name) => !theirs.includes(name));
      const missing = theirs.filter((name) => !ours.includes(name));
      if (extra.length + missing.length === 0) same++;
      else differences.push(`${set.join(' ')}: only kina [${extra.join(', ')}], only apt [${missing.join(', ')}]`);
    }
  }
  return { same, refused, differences };
}
