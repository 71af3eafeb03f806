/**
 * The report as one self-contained page: no scripts, no fonts, no external images, so that it can be an artifact of a CI
 * run and remains readable. It is light or dark, like the reader's system. Numbers are shown on hover.
 */
import { bytesText, html, secondsText, timeline, treemap } from './charts.ts';
import type { ReportData, ReportPlatform } from './data.ts';
import { longestWait } from './record.ts';

export function reportPage(data: ReportData): string {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${html(data.title)}</title><style>${style}</style>
<header><h1>${html(data.title)}</h1><p class="digest">${html(data.digest)}</p></header>
<main>
<section><h2>Timeline</h2>${timelineSection(data)}</section>
${data.platforms.map(platformSection).join('\n')}
</main></html>
`;
}

function timelineSection({ tasks }: ReportData): string {
  if (!tasks.length) return '<p>Nothing to do: the image was cached.</p>';
  const rows = longestWait(tasks).map(
    ({ kind, title, start, end }) =>
      `<tr><td>${kind}</td><td>${html(title)}</td><td class="n">${secondsText(start)}</td><td class="n">${secondsText(end - start)}</td></tr>`,
  );
  return `${timeline(tasks)}
<details open><summary>What the build waited for</summary>
<p>From the last task back: each is the one that ended last before the next began (outlined above).</p>
<table><tr><th>work</th><th>on</th><th class="n">began at</th><th class="n">took</th></tr>${rows.join('')}</table></details>`;
}

function platformSection(platform: ReportPlatform): string {
  const total = platform.layers.reduce((sum, layer) => sum + layer.blobSize, 0);
  const layers = platform.layers.map(
    (layer) =>
      `<tr><td>${html(layer.name)}</td><td class="n">${bytesText(layer.blobSize)}</td><td>${html(layer.steps.join(', '))}</td></tr>`,
  );
  const components = platform.components.map(
    ([name, version]) => `<tr><td>${html(name)}</td><td>${html(version)}</td></tr>`,
  );
  const packages = platform.packages
    .toSorted((a, b) => b.size - a.size)
    .map(
      ({ name, version, size, licences }) =>
        `<tr><td>${html(name)}</td><td>${html(version)}</td><td class="n">${bytesText(size)}</td><td>${licences.length ? html(licences.join(', ')) : '<i>not said in a readable form</i>'}</td></tr>`,
    );
  return `<section><h2>${html(platform.platform)} <small>${bytesText(total)}</small></h2>
${treemap(platform)}
<div class="two"><div><h3>Layers</h3><table><tr><th>layer</th><th class="n">blob</th><th>steps</th></tr>${layers.join('')}</table></div>
<div><h3>Components</h3><table><tr><th>component</th><th>version</th></tr>${components.join('')}</table></div></div>
<details><summary>${platform.packages.length} Debian packages, versions and licences</summary>
<p>Licences are read from each package's copyright file: names of its machine-readable form, else the common licences that it refers to. This is a help, no legal statement.</p>
<table><tr><th>package</th><th>version</th><th class="n">size</th><th>licences</th></tr>${packages.join('')}</table></details></section>`;
}

/** Colours: one hue per layer and per kind of work, lightness by scheme. */
const style = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#60646c;--line:#e0e1e6;--card:#f9f9fb;--l:72%;--s:55%;--ink:#14171a;--crit:#14171a}
@media(prefers-color-scheme:dark){:root{--bg:#111316;--fg:#edeef0;--dim:#a0a6b0;--line:#2e3238;--card:#191b1f;--l:38%;--s:38%;--ink:#f2f4f7;--crit:#fff}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:1180px;margin:0 auto;padding:0 24px}header{padding-top:28px}h1{font-size:26px;margin:0}h2{font-size:20px;margin:0 0 12px}h3{font-size:15px;margin:16px 0 6px}
small,.digest,p{color:var(--dim)}.digest{font:13px ui-monospace,monospace;margin:4px 0 20px;overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px;margin-bottom:20px}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--ink);pointer-events:none}
svg .lane,svg .tick{fill:var(--dim)}.grid{stroke:var(--line)}.size{opacity:.7}svg .name{font-weight:600}
.critical{stroke:var(--crit);stroke-width:1.5}.bar:hover,.cell:hover{filter:brightness(1.15)}
${hues('k-', { read: 210, compile: 90, fetch: 205, unpack: 265, assemble: 320, write: 150, compress: 35, output: 10 }, '')}
${hues('l-', { 0: 205, 1: 150, 2: 265, 3: 35, 4: 320, 5: 10, 6: 180, 7: 90 }, ' .cell')}
.layer{fill:var(--bg);stroke:var(--line)}.cell{stroke:var(--card);stroke-width:1}
table{border-collapse:collapse;width:100%;font-size:13.5px}td,th{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--dim);font-weight:500}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.two{display:grid;grid-template-columns:3fr 2fr;gap:32px}@media(max-width:800px){.two{grid-template-columns:1fr}}
details{margin-top:14px}summary{cursor:pointer;font-weight:600}`;

function hues(prefix: string, table: Readonly<Record<string, number>>, below: string): string {
  return Object.entries(table)
    .map(([name, hue]) => `.${prefix}${name}${below}{fill:hsl(${hue} var(--s) var(--l))}`)
    .join('');
}
