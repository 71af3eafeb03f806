/** The table of step kinds: a new kind is one file and one line here. */
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
import type { StepKind } from './step.ts';

// biome-ignore lint/suspicious/noExplicitAny: each kind has its own step type, checked by its own schema
export type AnyKind = StepKind<any>;

export const stepKinds: ReadonlyMap<string, AnyKind> = new Map(
  (
    [
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
    ] as AnyKind[]
  ).map((kind) => [kind.name, kind]),
);
