import { pushReference } from '../../ops/build-image.ts';
import { pushImage } from '../../ops/push-image.ts';
import type { SigningFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { compression, platforms } from './shared/flag-values.ts';
import { checkMetadata, pushSummary, reportPublished } from './shared/published.ts';
import { sessionFor } from './shared/session.ts';
import { signerFor } from './shared/signing.ts';

interface PushFlags extends GlobalFlags, SigningFlags {
  compression?: string;
  platform?: string;
  metadataFile?: string;
  sbom: boolean;
  provenance: boolean;
  insecureRegistry: string[];
  json: boolean;
}

export async function run(flags: PushFlags, ref: string, names: string[]): Promise<void> {
  const references = [...new Set(names.length ? names : [ref])].map(pushReference);
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const form = flags.compression === undefined ? 'keep' : (compression(flags.compression) ?? 'none');
  await checkMetadata(flags.metadataFile);
  const result = await withProgress(flags, async (reporter, signal) => {
    const signer = await signerFor(flags, signal);
    const session = await sessionFor(flags, reporter, signal);
    return pushImage({
      ...session,
      sbom: flags.sbom,
      provenance: flags.provenance,
      image: ref,
      to: references,
      form,
      platforms: wanted,
      signer,
    });
  });
  await reportPublished(result, flags.metadataFile);
  if (flags.json)
    return answerJson({
      references: result.references,
      digest: result.root.digest,
      ...result.pushed,
      documents: result.documents,
    });
  if (!flags.quiet) process.stderr.write(`${pushSummary(result.pushed)}\n`);
  answer(result.references.join('\n'));
}
