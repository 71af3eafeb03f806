/** An image for a cluster: built into the store when it is not there, as `kina build node-image` would. */
import { buildNodeImage, imageEpoch } from '../build/image.ts';
import { expandTag } from '../build/plan/plan.ts';
import { resolveRecipe } from '../build/resolve.ts';
import { versionTable } from '../build/versions.ts';
import { defaultTag } from '../oci/node-conventions.ts';
import type { Platform } from '../oci/platform.ts';
import type { Session } from '../session/session.ts';

/** The newest Kubernetes that the version table knows, `vX.Y.Z`. */
export async function newestVersion(): Promise<string> {
  return (await versionTable()).at(-1)!.latest;
}

export interface ImageToBuild {
  /** Name of a shipped recipe, or a file. */
  readonly recipe: string;
  /** Kubernetes, as `kina build node-image` takes it. */
  readonly source: string | undefined;
  readonly platform: Platform;
}

/** Builds, or finds built, and names it; the name. */
export async function buildAndTag({ recipe, source, platform }: ImageToBuild, tools: Session): Promise<string> {
  const resolved = await resolveRecipe(
    { recipe, source, sourceType: undefined, platforms: [platform], set: {}, lock: undefined, strict: false },
    tools,
  );
  const { plan } = resolved;
  const built = await buildNodeImage(
    resolved,
    { compression: undefined, noCache: false, epoch: imageEpoch(tools.environment) },
    tools,
  );
  const template = plan.image.tag;
  const reference = template ? expandTag(plan, template) : defaultTag(plan.recipe, plan.kubernetes ?? 'latest');
  await tools.store.tag(reference, built.index);
  return reference;
}
