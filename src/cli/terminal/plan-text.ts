/** A plan as text and as JSON, for `--dry-run`, with what is in the store and what is left to fetch. */
import type { Artifact } from '../../artifacts/artifact.ts';
import { type PlannedStep, stepArtifacts } from '../../build/plan/model.ts';
import type { Resolved } from '../../build/resolve.ts';
import { formatPlatform } from '../../oci/platform.ts';
import type { Store } from '../../oci/store/store.ts';
import { bytes, table } from './format.ts';

/** Digests of the plan's artifacts that the store holds. */
export async function storedArtifacts({ plan }: Resolved, store: Store): Promise<ReadonlySet<string>> {
  const all = plan.platforms.flatMap((p) => p.layers.flatMap((l) => l.steps.flatMap(stepArtifacts)));
  const unique = distinct(all);
  const there = await Promise.all(unique.map((a) => store.has(a.digest, a.size)));
  return new Set(unique.filter((_, i) => there[i]).map((a) => a.digest));
}

export function planText({ plan }: Resolved, stored: ReadonlySet<string>): string {
  const lines = [
    `recipe ${plan.recipe}${plan.kubernetes ? `, Kubernetes ${plan.kubernetes}` : ''}: ${plan.description}`,
  ];
  for (const platform of plan.platforms) {
    lines.push('', formatPlatform(platform.platform));
    const components = Object.entries(platform.components).map(([k, v]) => `${k} ${v}`);
    if (components.length > 0) lines.push(`  ${components.join(', ')}`);
    if (platform.absent.length > 0) lines.push(`  absent upstream: ${platform.absent.join(', ')}`);
    const steps = platform.layers.flatMap((layer) => layer.steps);
    const rows = steps.map((step) => {
      const artifacts = stepArtifacts(step);
      const size = sizeOf(artifacts);
      return [
        `  ${step.id}`,
        step.step.kind.name,
        size > 0 ? bytes(size) : '',
        fetchState(artifacts, stored),
        origin(step),
      ];
    });
    lines.push(table([['  STEP', 'KIND', 'SIZE', 'STORE', 'FROM'], ...rows], [2]));
    lines.push(totalLine('', steps, stored));
  }
  const every = plan.platforms.flatMap((p) => p.layers.flatMap((l) => l.steps));
  if (plan.platforms.length > 1) lines.push('', totalLine('all platforms: ', every, stored));
  return lines.join('\n');
}

export function planJson({ plan, lock }: Resolved, stored: ReadonlySet<string>): unknown {
  const mark = (artifacts: readonly Artifact[]) => artifacts.map((a) => ({ ...a, stored: stored.has(a.digest) }));
  return {
    recipe: plan.recipe,
    kubernetes: plan.kubernetes ?? null,
    total: totals(
      plan.platforms.flatMap((p) => p.layers.flatMap((l) => l.steps)),
      stored,
    ),
    platforms: plan.platforms.map((p) => ({
      platform: formatPlatform(p.platform),
      components: p.components,
      absent: p.absent,
      total: totals(
        p.layers.flatMap((l) => l.steps),
        stored,
      ),
      layers: p.layers.map((l) => ({
        name: l.name,
        steps: l.steps.map((s) => ({
          id: s.id,
          kind: s.step.kind.name,
          ...totals([s], stored),
          artifacts: mark(stepArtifacts(s)),
          absent: s.pins.absent,
        })),
      })),
    })),
    lock,
  };
}

interface Totals {
  readonly size: number;
  readonly toFetch: { readonly artifacts: number; readonly size: number };
}

/** Sizes of downloads. The same content counts once, however many steps and platforms use it. */
function totals(steps: readonly PlannedStep[], stored: ReadonlySet<string>): Totals {
  const all = distinct(steps.flatMap(stepArtifacts));
  const ahead = all.filter((a) => !stored.has(a.digest));
  return { size: sizeOf(all), toFetch: { artifacts: ahead.length, size: sizeOf(ahead) } };
}

function totalLine(title: string, steps: readonly PlannedStep[], stored: ReadonlySet<string>): string {
  const { size, toFetch } = totals(steps, stored);
  const left = toFetch.artifacts === 0 ? 'nothing to fetch' : `${bytes(toFetch.size)} to fetch`;
  return `  ${title}${bytes(size)} of artifacts, ${bytes(size - toFetch.size)} in the store, ${left}`;
}

function fetchState(artifacts: readonly Artifact[], stored: ReadonlySet<string>): string {
  const ahead = artifacts.filter((a) => !stored.has(a.digest));
  if (artifacts.length === 0) return '';
  if (ahead.length === 0) return 'cached';
  if (ahead.length === artifacts.length) return 'to fetch';
  return `${ahead.length} of ${artifacts.length} to fetch (${bytes(sizeOf(ahead))})`;
}

/** The source of the artifacts, in one line. */
function origin(step: PlannedStep): string {
  const artifacts = stepArtifacts(step);
  const { absent } = step.pins;
  const [first] = artifacts;
  if (absent.length > 0 && !first) return 'absent upstream';
  const unverified = artifacts.some((a) => a.verifiedBy === 'none') ? ' UNVERIFIED' : '';
  if (!first) return 'the recipe';
  return `${artifacts.length === 1 ? first.url : `${artifacts.length} artifacts from ${origins(artifacts)}`}${unverified}`;
}

function origins(artifacts: readonly Artifact[]): string {
  return [...new Set(artifacts.map((a) => (URL.canParse(a.url) && new URL(a.url).host) || a.url.split(':')[0]!))]
    .sort()
    .join(', ');
}

function distinct(artifacts: readonly Artifact[]): Artifact[] {
  return [...new Map(artifacts.map((a) => [a.digest, a])).values()];
}

function sizeOf(artifacts: readonly Artifact[]): number {
  return artifacts.reduce((sum, a) => sum + a.size, 0);
}
