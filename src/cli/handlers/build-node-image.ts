/** `kina build node-image`: checks the flags, builds, writes the outputs, prints the result. */

import { type BuiltNodeImage, buildNodeImage, imageEpoch } from '../../build/image.ts';
import { lockDigest } from '../../build/lock.ts';
import { planArtifacts } from '../../build/plan/model.ts';
import { expandTag } from '../../build/plan/plan.ts';
import { resolveRecipe } from '../../build/resolve.ts';
import { processEnvironment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { checkFileDestination } from '../../host/files.ts';
import { compressorOf } from '../../oci/compress.ts';
import { defaultTag } from '../../oci/node-conventions.ts';
import { checkDestination, writeOutput } from '../../oci/output/output.ts';
import type { ImageReference } from '../../oci/reference.ts';
import { storeImage } from '../../oci/store/image.ts';
import type { SigningFlags, SourceFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, version, withProgress } from '../terminal/context.ts';
import { bytes, seconds, table } from '../terminal/format.ts';
import { planJson, planText, storedArtifacts } from '../terminal/plan-text.ts';
import { checkOutputs, compression, imageName, output } from './shared/flag-values.ts';
import { checkMetadata, destination, pushSummary, reportPublished } from './shared/published.ts';
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
  // All checks of the command line come before the first side effect.
  const outputs = flags.output.map(output);
  checkOutputs(outputs, flags.json);
  const names = [...new Set([...flags.tag, ...(flags.image ? [flags.image] : [])].map(imageName))];
  if (flags.report !== undefined && flags.dryRun)
    throw new KinaError('usage', '--report and --dry-run cannot be used together: the report needs a built image');
  const { cacheReference, registryCache } = await import('../../ops/registry/cache.ts');
  const cacheFrom = flags.cacheFrom.map((value) => cacheReference('--cache-from', value));
  const cacheTo = flags.cacheTo.map((value) => cacheReference('--cache-to', value));
  for (const [given, flag] of [
    [flags.sbom, '--sbom'],
    [flags.provenance, '--provenance'],
    [flags.metadataFile, '--metadata-file'],
    [flags.sign, '--sign'],
    [flags.signKey, '--sign-key'],
  ])
    if (given && !flags.push) throw new KinaError('usage', `${flag} requires --push`);
  const pushTo = flags.push ? pushDestinations(names, flags) : [];
  const chosen = compression(flags.compression ?? (flags.push ? 'zstd' : undefined));
  const epoch = imageEpoch(processEnvironment());
  const lockFile = flags.lock ?? (flags.locked ? 'kina.lock' : undefined);
  const request = resolveRequest(source, flags, lockFile);
  if (request.platforms.length > 1 && outputs.some((o) => o.type === 'docker-archive'))
    throw new KinaError('usage', 'a docker-archive holds a single platform', {
      hint: 'Use type=oci-archive, or build one platform at a time.',
    });
  for (const { type, dest } of outputs) await checkDestination(type, dest);
  if (flags.report !== undefined) await checkFileDestination(flags.report, 'report');
  await checkMetadata(flags.metadataFile);
  const started = performance.now();

  const result = await withProgress(flags, async (shown, signal) => {
    const signer = await signerFor(flags, signal);
    const recording =
      flags.report === undefined ? undefined : (await import('../../ops/report/record.ts')).record(shown);
    const reporter = recording?.reporter ?? shown;
    const tools = await sessionFor(flags, reporter, signal);
    const resolved = await resolveRecipe(request, tools);
    const { plan } = resolved;
    const template = plan.image.tag;
    const refs = [...names];
    if (refs.length === 0)
      refs.push(imageName(template ? expandTag(plan, template) : defaultTag(plan.recipe, plan.kubernetes ?? 'latest')));
    if (flags.dryRun) return { resolved, tools, stored: await storedArtifacts(resolved, tools.store) };
    for (const absent of new Set(plan.platforms.flatMap((p) => p.absent)))
      reporter.warn(`${absent} is not available upstream and is left out (--strict makes this an error)`);
    for (const a of unverified(resolved))
      reporter.warn(`${a} is not verified: its publisher provides no checksum or signature`);
    const { rememberOrigin } = await import('../../ops/trust/origin.ts');
    const { publishImage, writingTransport } = await import('../../ops/registry/publish.ts');
    const transport = writingTransport({ ...flags, environment: processEnvironment(), version, signal });
    const cache = registryCache(cacheFrom, cacheTo, tools, transport);
    const built = await buildNodeImage(resolved, { compression: chosen, noCache: !flags.cache, epoch, cache }, tools);
    await rememberOrigin(tools.store, resolved.lock, built);
    for (const ref of refs) await tools.store.tag(ref, built.index);
    for (const { type, dest } of outputs)
      await writeOutput({
        store: tools.store,
        image: storeImage(tools.store, built.index),
        refs,
        dest,
        type,
        reporter,
        mtime: epoch,
        signal,
      });
    if (flags.report !== undefined && recording) {
      const { writeReport } = await import('../../ops/report/write.ts');
      await writeReport(flags.report, tools.store, built.index, refs[0]!, recording.tasks());
    }
    if (!flags.push) return { resolved, tools, built, refs };
    // Push the layers as they were built.
    const form = chosen ? 'keep' : 'none';
    const published = await publishImage(built.index, pushTo, form, {
      store: tools.store,
      transport,
      reporter,
      signal,
    });
    const { attachDocuments } = await import('../../ops/trust/attach.ts');
    const documents = { ...flags, signer };
    await attachDocuments(published.root, pushTo, documents, { store: tools.store, transport, version, signal });
    await reportPublished(published, flags.metadataFile);
    return { resolved, tools, built, refs, published };
  });

  const { resolved, built, refs, stored, published } = result;
  if (stored) return flags.json ? answerJson(planJson(resolved, stored)) : answer(planText(resolved, stored));
  if (flags.json)
    return answerJson({
      ...(published ? { pushed: { references: published.references, ...published.pushed } } : {}),
      ...resultJson(
        resolved.plan.recipe,
        resolved.plan.kubernetes,
        lockDigest(resolved.lock),
        refs,
        built,
        outputs,
        chosen ? compressorOf(chosen) : null,
      ),
    });
  if (!flags.quiet) process.stderr.write(summary(built, refs, outputs, performance.now() - started));
  if (published && !flags.quiet) process.stderr.write(`${pushSummary(published.pushed)}\n`);
  // With `dest=-` the archive goes to stdout, and nothing else may.
  if (!outputs.some((o) => o.dest === '-'))
    answer((published?.references ?? refs.map((ref) => `${ref}@${built.index.digest}`)).join('\n'));
}

function pushDestinations(names: readonly string[], flags: BuildFlags): ImageReference[] {
  if (flags.dryRun) throw new KinaError('usage', '--push and --dry-run cannot be used together');
  if (names.length === 0)
    throw new KinaError('usage', '--push requires a destination', {
      hint: 'Add one or more --tag REGISTRY/NAME:TAG.',
    });
  return names.map(destination);
}

function unverified({ plan }: Awaited<ReturnType<typeof resolveRecipe>>): string[] {
  return [...new Set(planArtifacts(plan).flatMap((a) => (a.verifiedBy === 'none' ? [a.url] : [])))];
}

function summary(
  built: BuiltNodeImage,
  refs: readonly string[],
  outputs: readonly { dest: string }[],
  elapsed: number,
): string {
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
    next ? `Next: podman load -i ${next.dest}` : `Next: kina image inspect ${refs[0]}`,
    '',
  ].join('\n');
}

function resultJson(
  recipe: string,
  kubernetes: string | undefined,
  lock: string,
  refs: readonly string[],
  built: BuiltNodeImage,
  outputs: readonly { type: string; dest: string }[],
  compressor: string | null,
): object {
  return {
    refs,
    digest: built.index.digest,
    recipe,
    kubernetes: kubernetes ?? null,
    lock,
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
