/** `kina build node-image`: flags to options, one call, the answer. */
import { imageEpoch } from '../../build/image.ts';
import { lockDigest } from '../../build/lock.ts';
import { processEnvironment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { compressorOf } from '../../oci/compress.ts';
import { type BuildImageResult, buildImage, checkBuild, planImage } from '../../ops/build-image.ts';
import type { SigningFlags, SourceFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes, seconds, table } from '../terminal/format.ts';
import { planJson, planText, storedArtifacts } from '../terminal/plan-text.ts';
import { checkOutputs, compression, imageName, output } from './shared/flag-values.ts';
import { checkMetadata, pushSummary, reportPublished } from './shared/published.ts';
import { resolveRequest } from './shared/request.ts';
import { sessionFor } from './shared/session.ts';
import { signerFor } from './shared/signing.ts';

interface BuildFlags extends SourceFlags, GlobalFlags, SigningFlags {
  readonly output: string[];
  readonly report: string | undefined;
  readonly tag: string[];
  readonly image: string | undefined;
  readonly compression: string | undefined;
  readonly lock: string | undefined;
  readonly locked: boolean;
  readonly cache: boolean;
  readonly dryRun: boolean;
  readonly push: boolean;
  readonly metadataFile: string | undefined;
  readonly sbom: boolean;
  readonly provenance: boolean;
  readonly cacheFrom: string[];
  readonly cacheTo: string[];
  readonly json: boolean;
}

export async function run(flags: BuildFlags, source: string | undefined): Promise<void> {
  const options = buildOptions(flags, source);
  const { cacheReference } = await import('../../ops/registry/cache.ts');
  const cacheFrom = flags.cacheFrom.map((value) => cacheReference('--cache-from', value));
  const cacheTo = flags.cacheTo.map((value) => cacheReference('--cache-to', value));
  imageEpoch(processEnvironment());
  await checkBuild(options);
  await checkMetadata(flags.metadataFile);
  if (flags.dryRun) return printPlan(flags, options);

  const started = performance.now();
  const built = await withProgress(flags, async (reporter, signal) => {
    const signer = await signerFor(flags, signal);
    const session = await sessionFor(flags, reporter, signal);
    const push = options.push && { ...options.push, signer };
    const result = await buildImage({ ...session, ...options, cacheFrom, cacheTo, push });
    if (result.published) await reportPublished(result.published, flags.metadataFile);
    return result;
  });
  const { published, names, index } = built;
  if (flags.json)
    return answerJson({
      ...(published ? { pushed: { references: published.references, ...published.pushed } } : {}),
      ...resultJson(built, options),
    });
  if (!flags.quiet) process.stderr.write(summary(built, options.outputs, performance.now() - started));
  if (published && !flags.quiet) process.stderr.write(`${pushSummary(published.pushed)}\n`);
  // With `dest=-` the archive goes to stdout, and nothing else may.
  if (!options.outputs.some((o) => o.dest === '-'))
    answer((published?.references ?? names.map((name) => `${name}@${index.digest}`)).join('\n'));
}

/** Flags that exclude or need each other are refused here, in the words of flags; the rest is `checkBuild`'s. */
function buildOptions(flags: BuildFlags, source: string | undefined) {
  const outputs = flags.output.map(output);
  checkOutputs(outputs, flags.json);
  const names = [...new Set([...flags.tag, ...(flags.image ? [flags.image] : [])].map(imageName))];
  if (flags.report !== undefined && flags.dryRun)
    throw new KinaError('usage', '--report and --dry-run cannot be used together: the report needs a built image');
  for (const [given, flag] of [
    [flags.sbom, '--sbom'],
    [flags.provenance, '--provenance'],
    [flags.metadataFile, '--metadata-file'],
    [flags.sign, '--sign'],
    [flags.signKey, '--sign-key'],
  ])
    if (given && !flags.push) throw new KinaError('usage', `${flag} requires --push`);
  if (flags.push && flags.dryRun) throw new KinaError('usage', '--push and --dry-run cannot be used together');
  return {
    ...resolveRequest(source, flags, flags.lock ?? (flags.locked ? 'kina.lock' : undefined)),
    names,
    outputs,
    compression: compression(flags.compression ?? (flags.push ? 'zstd' : undefined)),
    noCache: !flags.cache,
    report: flags.report,
    push: flags.push ? { sbom: flags.sbom, provenance: flags.provenance } : undefined,
  };
}

type Options = ReturnType<typeof buildOptions>;

async function printPlan(flags: BuildFlags, options: Options): Promise<void> {
  const { resolved, stored } = await withProgress(flags, async (reporter, signal) => {
    const session = await sessionFor(flags, reporter, signal);
    const resolved = await planImage({ ...session, ...options });
    return { resolved, stored: await storedArtifacts(resolved, session.store) };
  });
  if (flags.json) answerJson(planJson(resolved, stored));
  else answer(planText(resolved, stored));
}

function summary(built: BuildImageResult, outputs: Options['outputs'], elapsed: number): string {
  const rows = built.platforms.flatMap((p) =>
    p.layers.map((l) => [p.platform, l.name, bytes(l.size), l.cached ? 'cached' : `built in ${seconds(l.elapsed)}`]),
  );
  const sizes = built.platforms.map(
    (p) => `${p.platform} ${bytes(p.layers.reduce((sum, l) => sum + l.descriptor.size, 0))}`,
  );
  const next = outputs.find((o) => o.dest.endsWith('.tar') && o.dest !== '-');
  return [
    '',
    table([['PLATFORM', 'LAYER', 'SIZE', ''], ...rows], [2]),
    '',
    `${sizes.join(', ')}; ${seconds(elapsed)}`,
    `digest ${built.index.digest}`,
    next ? `Next: podman load -i ${next.dest}` : `Next: kina image inspect ${built.names[0]}`,
    '',
  ].join('\n');
}

function resultJson(built: BuildImageResult, { outputs, compression: chosen }: Options): object {
  const { plan, lock } = built;
  const compressor = chosen ? compressorOf(chosen) : null;
  return {
    refs: built.names,
    digest: built.index.digest,
    recipe: plan.recipe,
    kubernetes: plan.kubernetes ?? null,
    lock: lockDigest(lock),
    outputs,
    platforms: built.platforms.map((p) => ({
      platform: p.platform,
      manifest: p.manifest.digest,
      cached: p.cached,
      components: p.components,
      absent: p.absent,
      layers: p.layers.map((l) => ({
        name: l.name,
        diffId: l.diffId,
        digest: l.descriptor.digest,
        mediaType: l.descriptor.mediaType,
        size: l.size,
        blobSize: l.descriptor.size,
        compressor,
        cached: l.cached,
        milliseconds: Math.round(l.elapsed),
      })),
    })),
  };
}
