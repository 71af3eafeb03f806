/** The step kinds that recipes may use. A new kind is one file and one line here. */
export { archiveKind } from './archive.ts';
export { debianKind } from './debian.ts';
export { fileKind } from './file.ts';
export { fromKind } from './from.ts';
export { imagesKind } from './images.ts';
export { kubernetesKind } from './kubernetes.ts';
export { filesKind } from './local-files.ts';
export { npmKind } from './npm.ts';
export { directoriesKind, symlinksKind, usersKind } from './simple.ts';
export { systemKind } from './system.ts';
export { systemdKind } from './systemd.ts';
