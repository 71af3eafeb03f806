/**
 * kina as a library: the use cases behind the commands. Each is one function that takes one options object and returns one
 * result. Options extend a session, which holds the store, the network and the progress reporter:
 *
 *     const session = await openSession();
 *     const { names, index } = await buildImage({ ...session, source: 'v1.34.2' });
 *
 * Failures are `KinaError`s with a code, a hint and details. Nothing is printed; progress goes to the session's reporter.
 */
export { type DeleteClusterOptions, type DeletedCluster, deleteCluster } from './cluster/delete.ts';
export {
  type LoadIntoClusterOptions as LoadImagesOptions,
  loadIntoCluster as loadImages,
} from './cluster/load-images.ts';
export { type StartClusterOptions, type StopClusterOptions, startCluster, stopCluster } from './cluster/power.ts';
export { type ListedCluster, listClusters } from './cluster/state.ts';
export { type ErrorCode, KinaError } from './host/errors.ts';
export { type Reporter, type Steps, silent, type Task, type TaskKind } from './host/progress.ts';
export { type Platform, parsePlatform } from './oci/platform.ts';
export { type ImageReference, parseReference } from './oci/reference.ts';
export { type BuildImageOptions, type BuildImageResult, buildImage, planImage } from './ops/build-image.ts';
export { type CreateClusterOptions, type CreatedCluster, createCluster } from './ops/cluster/create.ts';
export { type CriSettings, type ServeCriOptions, serveCri } from './ops/cri.ts';
export { type PushImageOptions, pushImage } from './ops/push-image.ts';
export { type PulledImage, type PullImageOptions, pullImage } from './ops/registry/pull.ts';
export { type Verdict, type VerifyOptions as VerifyImageOptions, verify as verifyImage } from './ops/verify/verify.ts';
export { openSession, type Session, type SessionOptions } from './session/session.ts';
