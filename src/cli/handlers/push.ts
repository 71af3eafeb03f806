import { processEnvironment } from '../../host/environment.ts';
import { choosePlatforms, narrowImage, openImage } from '../../oci/image/select.ts';
import { publishImage, writingTransport } from '../../ops/registry/publish.ts';
import { attachDocuments } from '../../ops/trust/attach.ts';
import type { SigningFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, version, withProgress } from '../terminal/context.ts';
import { compression, platforms } from './shared/flag-values.ts';
import { checkMetadata, destination, pushSummary, reportPublished } from './shared/published.ts';
import { signerFor } from './shared/signing.ts';
import { openStore } from './shared/store.ts';

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
  const references = [...new Set(names.length ? names : [ref])].map(destination);
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const form = flags.compression === undefined ? 'keep' : (compression(flags.compression) ?? 'none');
  await checkMetadata(flags.metadataFile);
  const result = await withProgress(flags, async (reporter, signal) => {
    const signer = await signerFor(flags, signal);
    const transport = writingTransport({ ...flags, environment: processEnvironment(), version, signal });
    const store = await openStore();
    const contents = await openImage(store, ref);
    const image = await narrowImage(store, contents, choosePlatforms(ref, contents, wanted));
    const published = await publishImage(image, references, form, { store, transport, reporter, signal });
    const tools = { store, transport, version, signal };
    const documents = await attachDocuments(published.root, references, { ...flags, signer }, tools);
    return { ...published, documents };
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
