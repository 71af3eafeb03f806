/** Expands `${name}` in recipes and template files; `$${` is a literal `${`. An unknown name is an error with a suggestion. */
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';

export function expandTemplate(text: string, variables: Readonly<Record<string, string>>, where: string): string {
  return text.replace(/\$(\$\{|\{([^}]*)\})/g, (whole, _body, name: string | undefined) => {
    if (whole === '$${') return '${';
    const key = (name ?? '').trim();
    const value = variables[key];
    if (value === undefined)
      throw new KinaError('recipe', `${where}: unknown variable \${${key}}${didYouMean(key, Object.keys(variables))}`, {
        hint: `Known here: ${Object.keys(variables).sort().join(', ')}. Write $\${ for a literal \${.`,
      });
    return value;
  });
}

/** Expands every string inside a JSON-like value; keys too, since paths may be keys. */
export function expandDeep<T>(value: T, variables: Readonly<Record<string, string>>, where: string): T {
  if (typeof value === 'string') return expandTemplate(value, variables, where) as T;
  if (Array.isArray(value)) return value.map((v) => expandDeep(v, variables, where)) as T;
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(
      Object.entries(value).map(([k, v]) => [expandTemplate(k, variables, where), expandDeep(v, variables, where)]),
    ) as T;
  return value;
}
