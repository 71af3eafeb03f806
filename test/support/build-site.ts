/** What tests of whole builds stand on: a synthetic upstream, a workshop that fetches from it, a folder for outputs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { openWorkshop, type Workshop } from './build.ts';
import { startUpstream, type Upstream } from './upstream.ts';

export interface BuildSite {
  folder: string;
  upstream: Upstream;
  workshop: Workshop;
}

/** Called where tests are described; there is something in it as soon as the first of them runs. */
export function useBuildSite(name: string): BuildSite {
  const site = {} as BuildSite;
  beforeAll(async () => {
    site.folder = await mkdtemp(join(tmpdir(), `kina-${name}-`));
    site.upstream = await startUpstream();
    site.workshop = await openWorkshop({ mirror: [site.upstream.url] });
  });
  afterAll(async () => {
    await site.workshop?.close();
    await site.upstream?.stop();
    await rm(site.folder, { recursive: true, force: true });
  });
  return site;
}
