/** `kina recipe list|show|validate|schema`: recipes as they are, before any source or platform is chosen. */
import { relative, sep } from 'node:path';
import { Command } from 'commander';
import { answer, answerJson } from '../terminal/context.ts';
import { table } from '../terminal/format.ts';

interface JsonFlag {
  json: boolean;
}

export function recipeCommand(): Command {
  const list = new Command('list')
    .alias('ls')
    .description('list the recipes that come with kina')
    .option('--json', 'answer as JSON', false)
    .action(async ({ json }: JsonFlag) => {
      const { loadRecipe, shippedRecipes } = await import('../../build/recipe/load.ts');
      const recipes = await Promise.all((await shippedRecipes()).map((name) => loadRecipe(name)));
      if (json) return answerJson(recipes.map(({ name, description }) => ({ name, description })));
      answer(table([['NAME', 'DESCRIPTION'], ...recipes.map((r) => [r.name, r.description])]));
    });
  const show = new Command('show')
    .description('print a recipe with everything it extends merged in')
    .argument('<name>', 'shipped recipe or path of a recipe file')
    .option('--json', 'answer as JSON', false)
    .action(async (name: string, { json }: JsonFlag) => {
      const { loadRecipe } = await import('../../build/recipe/load.ts');
      const { recipeText, stepObject } = await import('../../build/recipe/text.ts');
      const recipe = await loadRecipe(name);
      if (!json) return answer(recipeText(recipe, shortPlace));
      const layers = recipe.layers.map((layer) => ({
        name: layer.name,
        steps: layer.steps.map((step) => ({ ...stepObject(step), from: step.where })),
      }));
      answerJson({ ...recipe, layers });
    });
  const validate = new Command('validate')
    .description('check a recipe and those it extends; every problem with its line, exit code 2 when there is one')
    .argument('<name>', 'shipped recipe or path of a recipe file')
    .option('--json', 'answer as JSON', false)
    .action(async (name: string, { json }: JsonFlag) => {
      const { validateRecipe } = await import('../../build/recipe/validate.ts');
      const problems = await validateRecipe(name);
      if (problems.length > 0) process.exitCode = 2;
      if (json) return answerJson({ recipe: name, valid: problems.length === 0, problems });
      if (problems.length === 0) return answer(`${name}: OK`);
      answer(problems.map((p) => `${place(p.file, p.line, p.column)}: ${p.message}`).join('\n'));
    });
  const schema = new Command('schema')
    .description('print the JSON Schema of recipes, for editors')
    .action(async () => answerJson((await import('../../build/recipe/json-schema.ts')).recipeJsonSchema()));
  return new Command('recipe')
    .description('look at recipes')
    .addCommand(list)
    .addCommand(show)
    .addCommand(validate)
    .addCommand(schema);
}

function place(file: string, line: number, column: number): string {
  return line === 0 ? file : `${file}:${line}:${column}`;
}

/** Relative to where the person stands, when it is below. */
function shortPlace(where: string): string {
  const short = relative(process.cwd(), where);
  return short.startsWith(`..${sep}`) ? where : short;
}
