import { validateRecipe } from '../../build/recipe/validate.ts';
import { answer, answerJson } from '../terminal/context.ts';

export async function run({ json }: { readonly json: boolean }, name: string): Promise<void> {
  const problems = await validateRecipe(name);
  if (problems.length > 0) process.exitCode = 2;
  if (json) return answerJson({ recipe: name, valid: problems.length === 0, problems });
  if (problems.length === 0) return answer(`${name}: OK`);
  answer(problems.map((p) => `${place(p.file, p.line, p.column)}: ${p.message}`).join('\n'));
}

function place(file: string, line: number, column: number): string {
  return line === 0 ? file : `${file}:${line}:${column}`;
}
