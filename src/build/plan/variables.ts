/** The variables of a recipe: built-in ones, the version table's, the recipe's own, and values of `--set`. */
import semver from 'semver';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { cgroupDriver } from '../../oci/node-conventions.ts';
import { versionFacts } from '../versions.ts';
import type { PlanRequest } from './model.ts';

/** Throws `usage` for unknown variables, missing values and values that the recipe does not allow, all at once. */
export async function chooseVariables({ recipe, kubernetes, set }: PlanRequest): Promise<Record<string, string>> {
  const facts: Record<string, string> = kubernetes ? { ...(await versionFacts(kubernetes)) } : {};
  const known = [...Object.keys(recipe.variables), ...Object.keys(facts), 'kubernetes'];
  const problems: string[] = [];
  for (const key of Object.keys(set))
    if (!known.includes(key)) problems.push(`--set ${key}: the recipe has no such variable${didYouMean(key, known)}`);
  const own: Record<string, string> = {};
  for (const [name, variable] of Object.entries(recipe.variables)) {
    const value = set[name] ?? variable.default;
    if (value === undefined)
      problems.push(
        `the variable ${name} has no value; give --set ${name}=…${variable.description ? ` (${variable.description})` : ''}`,
      );
    else if (variable.values && !variable.values.includes(value))
      problems.push(
        `${name} is ${JSON.stringify(value)}, but must be one of: ${variable.values.join(', ')}${didYouMean(value, variable.values)}`,
      );
    else own[name] = value;
  }
  if (problems.length > 0)
    throw new KinaError('usage', `recipe ${recipe.name}: variables`, {
      details: problems,
      hint: `Variables: ${known.sort().join(', ')}.`,
    });
  const version = kubernetes ? semver.coerce(kubernetes) : undefined;
  return {
    ...facts,
    ...own,
    ...set,
    recipe: recipe.name,
    // The systemd driver is the default of everything that runs without an old kubelet.
    systemdCgroup: String(kubernetes === undefined || cgroupDriver(kubernetes) === 'systemd'),
    ...(kubernetes && version ? { kubernetes, kubernetesMinor: `${version.major}.${version.minor}` } : {}),
  };
}
