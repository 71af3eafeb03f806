/** Pins a download of a recipe: its size and digest, or that an optional component does not exist. */
import { resolveArtifact } from '../artifacts/checksums.ts';
import { KinaError } from '../host/errors.ts';
import { noPins, type Resolution, type ResolveContext } from './step.ts';

export interface Download {
  readonly type: 'binary' | 'archive';
  readonly name: string;
  readonly url: string;
  readonly checksum?: { url?: string | undefined; sha256?: string | undefined } | undefined;
}

/**
 * Only a definite 404 makes an optional download absent. A slow, broken or unreachable server is an error: otherwise the image
 * would silently lack the component.
 */
export async function pinDownload(download: Download, context: ResolveContext): Promise<Resolution> {
  const { common } = context;
  const name = common.component ?? download.name;
  if (download.checksum === undefined && !common.unverified)
    throw new KinaError('recipe', `${download.url} has no checksum`, {
      hint: 'Give checksum: { url } or checksum: { sha256 }, or accept the risk with `unverified: true` on this step.',
    });
  try {
    const artifact = await resolveArtifact(
      { ...download, name, unverified: common.unverified ?? false },
      context.checksums,
    );
    return { pins: { ...noPins, artifacts: [artifact] } };
  } catch (error) {
    if (common.optional && error instanceof KinaError && error.code === 'not-found')
      return { pins: { ...noPins, absent: [name] } };
    throw error;
  }
}
