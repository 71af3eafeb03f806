/** The table of step kinds. A new kind is one file and one line here. */
import type { StepKind } from './kind.ts';
import { archiveKind } from './kinds/archive.ts';
import { debianKind } from './kinds/debian.ts';
import { fileKind } from './kinds/file.ts';
import { fromKind } from './kinds/from.ts';
import { imagesKind } from './kinds/images.ts';
import { kubernetesKind } from './kinds/kubernetes.ts';
import { filesKind } from './kinds/local-files.ts';
import { npmKind } from './kinds/npm.ts';
import { directoriesKind, symlinksKind, usersKind } from './kinds/simple.ts';
import { systemKind } from './kinds/system.ts';
import { systemdKind } from './kinds/systemd.ts';

const kinds: readonly StepKind[] = [
  debianKind,
  archiveKind,
  fileKind,
  filesKind,
  directoriesKind,
  symlinksKind,
  usersKind,
  kubernetesKind,
  imagesKind,
  fromKind,
  npmKind,
  systemdKind,
  systemKind,
];

/** By the name that recipes use. */
export const stepKinds: ReadonlyMap<string, StepKind> = new Map(kinds.map((kind) => [kind.name, kind]));
