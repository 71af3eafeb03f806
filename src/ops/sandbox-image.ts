/** The image of pod sandboxes: built from its recipe, or found built, and given to the provider. */
import { ensureImage } from '../cluster/image.ts';
import { hostPlatform } from '../oci/platform.ts';
import { selectProvider } from '../provider/select.ts';
import type { Session } from '../session/session.ts';
import { buildImage } from './build-image.ts';

/** Sees to it that the provider has the image of sandboxes; its name. What is in the store under its name is meant. */
export async function sandboxImage(
  settings: { readonly provider?: string | undefined; readonly sandboxImage?: string | undefined },
  tools: Session,
  signal: AbortSignal,
  say: (note: string) => void,
): Promise<string> {
  const provider = await selectProvider(settings.provider);
  const platform = hostPlatform();
  let reference = settings.sandboxImage;
  if (reference === undefined) {
    say('Preparing the sandbox image');
    reference = (await buildImage({ ...tools, recipe: 'sandbox', platforms: [platform] })).names[0]!;
  }
  await ensureImage(reference, {
    provider,
    store: tools.store,
    platform,
    signal,
    say: (note) => say(`Sandbox image: ${note}`),
  });
  return reference;
}
