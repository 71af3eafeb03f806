/** Chooses the node image of a cluster, and builds it when the store does not have it. */
import { shippedRecipes } from '../../build/recipe/load.ts';
import { versionTable } from '../../build/versions.ts';
import type { Cluster } from '../../cluster/config/cluster.ts';
import { defaultTag } from '../../oci/node-conventions.ts';
import type { Session } from '../../session/session.ts';
import { buildImage } from '../build-image.ts';

interface ImageChoice {
  /** Image of all nodes. */
  readonly image?: string | undefined;
  /** Kubernetes version or recipe to build, even if the store has an image of that name. */
  readonly build?: string | undefined;
}

/** The image of the nodes that do not name one, as `nodeImage` would return it; nothing is built. */
export async function plannedImage(cluster: Cluster, choice: ImageChoice): Promise<string> {
  const given = givenImage(cluster, choice);
  if (given !== undefined) return given;
  return choice.build === undefined ? defaultTag('node', await newestVersion()) : `(build ${choice.build})`;
}

/** The same, in the store unless the runtime has to pull it. */
export async function nodeImage(cluster: Cluster, choice: ImageChoice, session: Session): Promise<string> {
  const given = givenImage(cluster, choice);
  if (given !== undefined) return given;
  const source = choice.build ?? (await newestVersion());
  const tag = defaultTag('node', source);
  if (choice.build === undefined && (await session.store.resolve(tag))) return tag;
  session.reporter.info(`Building the node image for ${source}`);
  const request = (await isRecipe(source)) ? { recipe: source } : { recipe: 'node', source };
  return (await buildImage({ ...session, ...request })).names[0]!;
}

/** The newest Kubernetes in the version table, `vX.Y.Z`. */
async function newestVersion(): Promise<string> {
  return (await versionTable()).at(-1)!.latest;
}

function givenImage({ nodes }: Cluster, { image }: ImageChoice): string | undefined {
  if (image !== undefined) return image;
  return nodes.every((node) => node.image !== undefined) ? nodes[0]?.image : undefined;
}

/** `build` is a version or a recipe. A recipe is a file or the name of a shipped recipe. */
async function isRecipe(source: string): Promise<boolean> {
  if (/\.ya?ml$/.test(source) || source.includes('/')) return !/^(https?:|ci\/)/.test(source);
  return (await shippedRecipes()).includes(source);
}
