/**
 * What a run of critest showed, from Ginkgo's JSON report: the specs that a sandbox in a virtual machine can meet, counted,
 * and every one that did not pass by name and reason. What the skip expression leaves out is not counted at all.
 */

/** The part of Ginkgo's report (types.Report, version 2) that is read here. */
export interface GinkgoReport {
  readonly SpecReports: readonly {
    readonly LeafNodeType: string;
    readonly LeafNodeText: string;
    readonly ContainerHierarchyTexts: readonly string[] | null;
    readonly State: string;
    /** Also of a spec that skips itself: then the reason. Absent when a filter left it out. */
    readonly Failure?: { readonly Message: string };
  }[];
}

interface Spec {
  /** All headings and the title, as `-ginkgo.skip` matches them. */
  readonly name: string;
  readonly reason: string;
}

export interface Outcome {
  readonly passed: number;
  readonly failed: readonly Spec[];
  readonly skipped: readonly Spec[];
}

/** Specs that cannot hold where a pod is a machine of its own, or that ask for what Linux hosts alone have. */
const impossible = [
  'AppArmor',
  'SELinux',
  'NRI',
  'rshared',
  'rslave',
  'non-recursive readonly',
  'HostIpc is true',
  'HostNetwork is true',
  'portforward in host network',
].join('|');

/** Of the specs that are left, those that need what no machine without the internet has. */
const offline: readonly Spec[] = [
  {
    name: 'public image with digest should be pulled and removed',
    reason: 'its image is named by a digest that only upstream’s registry has',
  },
];

/** For `-ginkgo.skip`. */
export const skipExpression = [impossible, ...offline.map(({ name }) => name)].join('|');

/** How many specs of critest v1.36 the expression leaves, counting those that only the internet is missing for. */
export const possibleSpecs = 109;

/** `whole`: nothing else was left out, so the specs that are skipped by name count. */
export function outcomeOf(report: GinkgoReport, whole: boolean): Outcome {
  const specs = report.SpecReports.map((spec) => ({
    name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' ').trim(),
    state: spec.State,
    reason: spec.Failure?.Message.trim(),
    /** Anything but a spec (preparing the suite, its end) is of interest only when it breaks. */
    spec: spec.LeafNodeType === 'It',
  }));
  const broken = specs.filter(
    ({ state, reason }) => state !== 'passed' && state !== 'skipped' && state !== 'pending' && reason,
  );
  const left = specs.filter(({ state, reason }) => state === 'skipped' && reason !== undefined);
  return {
    passed: specs.filter(({ spec, state }) => spec && state === 'passed').length,
    failed: broken.map(({ name, reason }) => ({ name: name || 'the suite', reason: reason! })),
    skipped: [...left.map(({ name, reason }) => ({ name, reason: reason! })), ...(whole ? offline : [])],
  };
}

/** Several lines: the failed, the skipped, the sum. */
export function describeOutcome({ passed, failed, skipped }: Outcome): string {
  const lines: string[] = [];
  for (const { name, reason } of failed) lines.push(`FAILED   ${name}`, ...indented(reason));
  for (const { name, reason } of skipped) lines.push(`skipped  ${name}: ${reason.split('\n')[0]}`);
  const total = passed + failed.length + skipped.length;
  lines.push(`${passed} passed, ${failed.length} failed, ${skipped.length} skipped of ${total}`);
  return `${lines.join('\n')}\n`;
}

/** Gomega prints whole objects; the beginning says enough. */
function indented(text: string): string[] {
  return text
    .split('\n')
    .slice(0, 6)
    .map((line) => `         ${line}`);
}
