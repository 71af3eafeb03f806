import { type ImageDetails, inspectImage } from '../../oci/image/inspect.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { bytes, table } from '../terminal/format.ts';
import { openStore } from './shared/store.ts';

export async function run(options: { readonly json: boolean }, ref: string): Promise<void> {
  const details = await inspectImage(await openStore(), ref);
  return options.json ? answerJson(details) : answer(text(details));
}

function text({ ref, descriptor, platforms }: ImageDetails): string {
  const lines = [ref, `index     ${descriptor.digest}`];
  for (const p of platforms) {
    lines.push(
      '',
      p.platform,
      `manifest  ${p.manifest.digest}`,
      `config    ${p.config.digest}`,
      `created   ${p.created ?? 'unknown'}`,
      `starts    ${p.entrypoint.join(' ')}`,
      ...(p.user ? [`user      ${p.user}`] : []),
      ...(p.workingDir ? [`folder    ${p.workingDir}`] : []),
    );
    const labels = Object.entries(p.labels).sort(([a], [b]) => (a < b ? -1 : 1));
    if (labels.length > 0) lines.push('labels', table(labels.map(([k, v]) => [`  ${k}`, v])));
    lines.push(
      'layers',
      table(
        p.layers.map((l) => [
          `  ${l.digest.slice(0, 19)}`,
          bytes(l.size),
          l.mediaType.replace(/^.*\.layer\.v1\./, ''),
          l.createdBy ?? '',
        ]),
        [1],
      ),
    );
  }
  return lines.join('\n');
}
