/** Removes what the last build left, so that a deleted source file does not live on in `dist/`. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';

rmSync(join(import.meta.dirname, '..', 'dist'), { recursive: true, force: true });
