import { recipeJsonSchema } from '../../build/recipe/json-schema.ts';
import { answerJson } from '../terminal/context.ts';

export function run(): void {
  answerJson(recipeJsonSchema());
}
