/** The use case of `kina cri sandbox-image`: builds the image of pod sandboxes and loads it into the provider. */
import { ensureImage } from '../cluster/image.ts';
import { hostPlatform } from '../oci/platform.ts';
import { selectProvider } from '../provider/select.ts';
import type { Session } from '../session/session.ts';
import { buildImage } from './build-image.ts';

export interface SandboxImageOptions {
  readonly provider?: string | undefined;
  /** Load this image instead of building one. */
  readonly sandboxImage?: string | undefined;
}

/** Returns the image's name. If store and provider have different images of this name, the provider gets the store's. */
export async function sandboxImage(
  options: SandboxImageOptions,
  session: Session,
  say: (note: string) => void,
): Promise<string> {
  const provider = await selectProvider(options.provider, session.environment);
  const platform = hostPlatform();
  let reference = options.sandboxImage;
  if (reference === undefined) {
    say('Preparing the sandbox image');
    reference = (await buildImage({ ...session, recipe: 'sandbox', platforms: [platform] })).names[0]!;
  }
  await ensureImage(reference, {
    provider,
    store: session.store,
    platform,
    signal: session.signal ?? new AbortController().signal,
    say: (note) => say(`Sandbox image: ${note}`),
  });
  return reference;
}
