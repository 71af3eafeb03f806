/** The request to resolve a recipe, from flags. */
import type { ResolveRequest } from '../../../build/resolve.ts';
import { KinaError } from '../../../host/errors.ts';
import type { SourceFlags } from '../../flags.ts';
import { platforms, settings } from './flag-values.ts';

export function resolveRequest(
  source: string | undefined,
  flags: SourceFlags,
  lock: string | undefined,
): ResolveRequest {
  if (flags.platform !== undefined && flags.arch !== undefined)
    throw new KinaError('usage', '--platform and --arch cannot be used together');
  return {
    recipe: flags.recipe,
    source,
    sourceType: flags.type,
    platforms: platforms(flags.platform ?? flags.arch),
    set: settings(flags.set),
    lock,
    strict: flags.strict,
  };
}
