/** Builds in this process, and reads back what is in the image: layers merged, last writer wins. */
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract } from 'tar-stream';
import { type BuiltNodeImage, buildNodeImage, imageEpoch } from '../../src/build/image.ts';
import { type Resolved, type ResolveRequest, resolveRecipe } from '../../src/build/resolve.ts';
import { silent } from '../../src/host/progress.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { openSession, type Session, type SessionOptions } from '../../src/session/session.ts';

export interface Workshop {
  readonly folder: string;
  readonly tools: Session;
  readonly warnings: string[];
  build(
    request: Partial<Omit<ResolveRequest, 'platforms'>> & { platforms?: string[] },
  ): Promise<BuiltNodeImage & { resolved: Resolved }>;
  /** The image's files for one platform: path to type, mode, content or link target; `without` skips a layer. */
  files(built: BuiltNodeImage, platform: string, without?: string): Promise<Map<string, ImageFile>>;
  config(
    built: BuiltNodeImage,
    platform: string,
  ): Promise<{ config: { Labels: Record<string, string>; Entrypoint?: string[] } }>;
  close(): Promise<void>;
}

export interface ImageFile {
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly target: string | undefined;
  readonly data: Buffer;
  readonly layer: string;
}

/** A fresh store, or that of another workshop; `KINA_CACHE_DIR` points at it until `close`, which removes it. */
export async function openWorkshop({
  beside,
  ...options
}: Partial<SessionOptions> & { beside?: Workshop } = {}): Promise<Workshop> {
  const folder = beside?.folder ?? (await mkdtemp(join(tmpdir(), 'kina-workshop-')));
  const before = process.env.KINA_CACHE_DIR;
  process.env.KINA_CACHE_DIR = folder;
  const warnings: string[] = [];
  const tools = await openSession({
    environment: process.env,
    reporter: { ...silent, warn: (m) => warnings.push(m) },
    version: '0.0.0-test',
    ...options,
  });

  const config = async (built: BuiltNodeImage, platform: string) => {
    const found = built.platforms.find((p) => p.platform === platform)!;
    const manifest = JSON.parse((await tools.store.readBytes(found.manifest.digest, 1 << 20)).toString()) as {
      config: { digest: `sha256:${string}` };
    };
    return JSON.parse((await tools.store.readBytes(manifest.config.digest, 1 << 20)).toString());
  };
  return {
    folder,
    tools,
    warnings,
    async build({ platforms, ...request }) {
      const resolved = await resolveRecipe(
        {
          recipe: 'node',
          source: undefined,
          sourceType: undefined,
          set: {},
          lock: undefined,
          strict: false,
          ...request,
          platforms: (platforms ?? ['linux/amd64']).map(parsePlatform),
        },
        tools,
      );
      return {
        ...(await buildNodeImage(resolved, { compression: undefined, noCache: false, epoch: imageEpoch({}) }, tools)),
        resolved,
      };
    },
    async files(built, platform, without) {
      const files = new Map<string, ImageFile>();
      for (const layer of built.platforms.find((p) => p.platform === platform)!.layers) {
        if (layer.name === without) continue;
        const reader = createReadStream(tools.store.blobPath(layer.diffId)).pipe(extract());
        for await (const entry of reader) {
          const parts: Buffer[] = [];
          for await (const part of entry) parts.push(part as Buffer);
          const { name, type, mode, uid, gid, linkname } = entry.header;
          files.set(name.replace(/\/$/, ''), {
            type: type ?? 'file',
            mode: mode ?? 0,
            uid: uid ?? 0,
            gid: gid ?? 0,
            target: linkname ?? undefined,
            data: Buffer.concat(parts),
            layer: layer.name,
          });
        }
      }
      return files;
    },
    config,
    async close() {
      if (before === undefined) delete process.env.KINA_CACHE_DIR;
      else process.env.KINA_CACHE_DIR = before;
      await tools.transport.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
