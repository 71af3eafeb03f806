/** The conditions of a step (`when`): on the platform, on variables, and on versions of components. */
import semver from 'semver';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import type { RecipeStep } from '../recipe/schema.ts';

/** A condition on a component that no step brings does not hold. */
export function conditionsHold(
  step: Pick<RecipeStep, 'when' | 'where'>,
  platform: Platform,
  components: Readonly<Record<string, string>>,
  variables: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(step.when).every(([key, wanted]) => {
    if (key === 'platform') return wanted.split('|').some((p) => p.trim() === formatPlatform(platform));
    const range = semver.validRange(wanted) !== null && /\d/.test(wanted);
    const version = components[key] ?? (range ? variables[key] : undefined);
    if (range && version !== undefined) {
      const base = semver.coerce(version);
      return base !== null && semver.satisfies(base, wanted);
    }
    if (range) return false;
    const value = variables[key];
    if (value === undefined)
      throw new KinaError(
        'recipe',
        `${step.where}: the condition ${key}: ${JSON.stringify(wanted)} is neither a semver range on a component nor about a variable${didYouMean(key, ['platform', ...Object.keys(variables)])}`,
      );
    return wanted.split('|').some((w) => w.trim() === value);
  });
}
