import { imageEpoch } from '../../build/image.ts';
import { processEnvironment } from '../../host/environment.ts';
import { pushReference } from '../../ops/build-image.ts';
import { copyImage } from '../../ops/registry/copy.ts';
import { parseLocation } from '../../ops/registry/location.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { pushSummary } from './shared/published.ts';
import { sessionFor } from './shared/session.ts';

interface CopyFlags extends GlobalFlags {
  mirror: string[];
  insecureRegistry: string[];
  referrers: boolean;
  json: boolean;
}

export async function run(flags: CopyFlags, src: string, dest: string): Promise<void> {
  const from = parseLocation(src);
  const to = parseLocation(dest);
  if (to.type === 'registry') pushReference(to.ref);
  const how = { mtime: imageEpoch(processEnvironment()), alone: !flags.referrers };
  const { root, pushed, referrers } = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, reporter, signal);
    return copyImage({ ...tools, from, to, ...how });
  });
  if (flags.json) return answerJson({ destination: dest, digest: root.digest, ...pushed, referrers });
  if (pushed && !flags.quiet) process.stderr.write(`${pushSummary(pushed)}\n`);
  answer(`${dest.replace(/^docker:\/\//, '')}@${root.digest}`);
}
