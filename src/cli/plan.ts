/** A plan as text and as JSON: what `--dry-run` answers. */
import type { Prepared } from '../build/prepare.ts';
import { formatPlatform } from '../oci/platform.ts';
import { bytes, table } from './format.ts';

export function planText({ plan }: Prepared): string {
  const lines = [
    `recipe ${plan.recipe}${plan.kubernetes ? `, Kubernetes ${plan.kubernetes}` : ''}: ${plan.description}`,
  ];
  for (const platform of plan.platforms) {
    lines.push('', formatPlatform(platform.platform));
    const components = Object.entries(platform.components).map(([k, v]) => `${k} ${v}`);
    if (components.length > 0) lines.push(`  ${components.join(', ')}`);
    if (platform.absent.length > 0) lines.push(`  absent upstream: ${platform.absent.join(', ')}`);
    const rows = platform.layers.flatMap((layer) =>
      layer.steps.map((step) => {
        const { artifacts, absent } = step.pins;
        const size = artifacts.reduce((sum, a) => sum + a.size, 0);
        const what =
          absent.length > 0
            ? 'absent'
            : artifacts.length === 0
              ? ''
              : artifacts.length === 1
                ? artifacts[0]!.url
                : `${artifacts.length} artifacts`;
        const unverified = artifacts.some((a) => a.verifiedBy === 'none') ? ' UNVERIFIED' : '';
        return [`  ${step.id}`, step.kind, size > 0 ? bytes(size) : '', `${what}${unverified}`];
      }),
    );
    lines.push(table(rows, [2]));
    const total = platform.layers
      .flatMap((l) => l.steps.flatMap((s) => s.pins.artifacts))
      .reduce((sum, a) => sum + a.size, 0);
    lines.push(`  ${bytes(total)} to fetch from an empty store`);
  }
  return lines.join('\n');
}

export function planJson({ plan, lock }: Prepared): unknown {
  return {
    recipe: plan.recipe,
    kubernetes: plan.kubernetes ?? null,
    platforms: plan.platforms.map((p) => ({
      platform: formatPlatform(p.platform),
      components: p.components,
      absent: p.absent,
      layers: p.layers.map((l) => ({
        name: l.name,
        steps: l.steps.map((s) => ({ id: s.id, kind: s.kind, artifacts: s.pins.artifacts, absent: s.pins.absent })),
      })),
    })),
    lock,
  };
}
