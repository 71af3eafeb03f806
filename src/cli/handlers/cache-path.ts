import { processEnvironment } from '../../host/environment.ts';
import { cacheDirectory } from '../../host/files.ts';
import { answer } from '../terminal/context.ts';

export function run(): void {
  answer(cacheDirectory(processEnvironment()));
}
