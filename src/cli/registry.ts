/** All commands, in the order of the help and of docs/commands.md, their groups, and the flags of every command. */
import { type Command, flag } from './command.ts';
import { buildNodeImage } from './commands/build-node-image.ts';
import { cacheLs } from './commands/cache-ls.ts';
import { cachePath } from './commands/cache-path.ts';
import { cachePrune } from './commands/cache-prune.ts';
import { cacheVerify } from './commands/cache-verify.ts';
import { ciMatrix } from './commands/ci-matrix.ts';
import { completion } from './commands/completion.ts';
import { configValidate } from './commands/config-validate.ts';
import { copy } from './commands/copy.ts';
import { createCluster } from './commands/create-cluster.ts';
import { criKubeletConfig } from './commands/cri-kubelet-config.ts';
import { criSandboxImage } from './commands/cri-sandbox-image.ts';
import { criServe } from './commands/cri-serve.ts';
import { deleteCluster } from './commands/delete-cluster.ts';
import { deleteClusters } from './commands/delete-clusters.ts';
import { doctor } from './commands/doctor.ts';
import { exec } from './commands/exec.ts';
import { exportKubeconfig } from './commands/export-kubeconfig.ts';
import { exportLogs } from './commands/export-logs.ts';
import { getClusters } from './commands/get-clusters.ts';
import { getKubeconfig } from './commands/get-kubeconfig.ts';
import { getNodes } from './commands/get-nodes.ts';
import { imageDiff } from './commands/image-diff.ts';
import { imageFiles } from './commands/image-files.ts';
import { imageHistory } from './commands/image-history.ts';
import { imageInspect } from './commands/image-inspect.ts';
import { imageLs } from './commands/image-ls.ts';
import { imageRm } from './commands/image-rm.ts';
import { imageSave } from './commands/image-save.ts';
import { imageSbom } from './commands/image-sbom.ts';
import { imageTag } from './commands/image-tag.ts';
import { imageTest } from './commands/image-test.ts';
import { imageVerify } from './commands/image-verify.ts';
import { loadDockerImage } from './commands/load-docker-image.ts';
import { loadImage } from './commands/load-image.ts';
import { loadImageArchive } from './commands/load-image-archive.ts';
import { lock } from './commands/lock.ts';
import { mirrorCreate } from './commands/mirror-create.ts';
import { mirrorServe } from './commands/mirror-serve.ts';
import { outdated } from './commands/outdated.ts';
import { pull } from './commands/pull.ts';
import { push } from './commands/push.ts';
import { recipeList } from './commands/recipe-list.ts';
import { recipeSchema } from './commands/recipe-schema.ts';
import { recipeShow } from './commands/recipe-show.ts';
import { recipeValidate } from './commands/recipe-validate.ts';
import { sign } from './commands/sign.ts';
import { startCluster } from './commands/start-cluster.ts';
import { stopCluster } from './commands/stop-cluster.ts';
import { verify } from './commands/verify.ts';
import { version } from './commands/version.ts';

/** Summaries of the command groups. */
export const groups: Readonly<Record<string, string>> = {
  create: 'Create a cluster',
  delete: 'Delete clusters',
  get: 'List clusters and nodes, print kubeconfigs',
  start: 'Start a cluster',
  stop: 'Stop a cluster',
  load: 'Load images into the nodes of a cluster',
  export: 'Export the kubeconfig or the logs of a cluster',
  config: 'Work with cluster configurations',
  build: 'Build images',
  mirror: 'Create and serve mirrors for air-gapped networks',
  image: 'Work with images in the store',
  ci: 'Generate jobs for CI pipelines',
  cache: 'Manage the store on disk',
  cri: 'Run a Container Runtime Interface (CRI v1) service whose pods are virtual machines',
  recipe: 'Inspect recipes',
};

export const globalFlags = [
  flag('-q, --quiet', 'print only results, warnings and errors'),
  flag('-v, --verbosity <level>', 'log verbosity: 1 stack traces, 2 configurations, 3 output of kubeadm', {
    values: () => ['0', '1', '2', '3', '5'],
  }),
  flag('--verbose', 'same as --verbosity 1'),
] as const;

export const commands: readonly Command[] = [
  createCluster,
  deleteCluster,
  deleteClusters,
  getClusters,
  getNodes,
  getKubeconfig,
  startCluster,
  stopCluster,
  loadImage,
  loadDockerImage,
  loadImageArchive,
  exportKubeconfig,
  exportLogs,
  exec,
  configValidate,
  buildNodeImage,
  lock,
  outdated,
  mirrorCreate,
  mirrorServe,
  imageLs,
  imageInspect,
  imageHistory,
  imageFiles,
  imageDiff,
  imageSbom,
  imageVerify,
  imageTest,
  imageSave,
  imageTag,
  imageRm,
  push,
  pull,
  copy,
  ciMatrix,
  sign,
  verify,
  cachePath,
  cacheLs,
  cacheVerify,
  cachePrune,
  criServe,
  criSandboxImage,
  criKubeletConfig,
  recipeList,
  recipeShow,
  recipeValidate,
  recipeSchema,
  completion,
  doctor,
  version,
];
