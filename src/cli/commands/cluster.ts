/**
 * The commands on clusters: their flags. What they start is in `cluster-run.ts` and `cluster-create.ts`, loaded when it is
 * wanted. Names, flags and defaults are kind's wherever kind has them; docs/kind.md lists every difference.
 */
import { Command } from 'commander';
import { addMirrorOptions, type ClusterFlags, type CreateFlags } from './shared.ts';

const nameOption = ['-n, --name <name>', 'cluster name (default: KINA_CLUSTER_NAME, else kina)'] as const;
const providerOption = [
  '--provider <name>',
  'podman, docker or apple (also KINA_PROVIDER; default: one that works)',
] as const;
const kubeconfigOption = [
  '--kubeconfig <file>',
  'kubeconfig file (default: $KUBECONFIG, else ~/.kube/config)',
] as const;
const jsonOption = ['--json', 'answer as JSON', false] as const;
const waitOption = (command: Command): Command =>
  command.option('--wait <duration>', 'wait for nodes and system workloads; 0s: do not', '5m');

type Run = typeof import('./cluster-run.ts');

/** Loads the work and hands it the arguments and flags, global ones included. */
function start(work: (run: Run) => (args: readonly string[], flags: ClusterFlags) => Promise<void>) {
  return async (...parameters: unknown[]): Promise<void> => {
    const command = parameters.at(-1) as Command;
    const run = await import('./cluster-run.ts');
    const flags = command.optsWithGlobals<ClusterFlags>();
    run.warnOfEnvironment(flags);
    await work(run)(command.args, flags);
  };
}

export function createCommand(): Command {
  const cluster = new Command('cluster')
    .description('create a cluster')
    .option(...nameOption)
    .option('--config <file>', 'cluster configuration, of kind or of kina; - is standard input')
    .option('--image <ref>', 'node image, for every node')
    .option('--build <version|recipe>', 'build the node image first: a Kubernetes version, or a recipe')
    .option('--kernel <file>', "kernel of every node (Apple's container)")
    .option('--rosetta', "run amd64 images in the nodes as well (Apple's container)")
    .option('--retain', 'keep the nodes of a creation that failed', false)
    .option('--allow-even-control-planes', 'two or four control planes: no better than one less', false)
    .option('--dry-run', 'check everything, print what would be made, and stop', false)
    .option(...kubeconfigOption)
    .option(...providerOption)
    .option(...jsonOption);
  addMirrorOptions(waitOption(cluster))
    .addHelpText(
      'after',
      `
Examples:
  kina create cluster                                   one node, the newest Kubernetes
  kina create cluster --name ci --build v1.34.2         another version, built when it is not in the store
  kina create cluster --config three-nodes.yaml         a file written for kind works unchanged`,
    )
    .action(async (_own: unknown, command: Command) =>
      (await import('./cluster-create.ts')).create(command.optsWithGlobals<CreateFlags>()),
    );
  return new Command('create').description('create a cluster').addCommand(cluster);
}

export function deleteCommand(): Command {
  const cluster = new Command('cluster')
    .description('delete a cluster')
    .option(...nameOption)
    .option(...kubeconfigOption)
    .option(...providerOption)
    .action(start((run) => run.deleteOne));
  const clusters = new Command('clusters')
    .description('delete several clusters')
    .argument('[names...]', 'their names')
    .option('-A, --all', 'all clusters', false)
    .option(...kubeconfigOption)
    .option(...providerOption)
    .action(start((run) => run.deleteSeveral));
  return new Command('delete').description('delete clusters').addCommand(cluster).addCommand(clusters);
}

export function getCommand(): Command {
  const clusters = new Command('clusters')
    .description('list clusters')
    .option(...providerOption)
    .option(...jsonOption)
    .action(start((run) => run.getClusters));
  const nodes = new Command('nodes')
    .description('list the nodes of a cluster')
    .option(...nameOption)
    .option('-A, --all-clusters', 'nodes of all clusters', false)
    .option(...providerOption)
    .option(...jsonOption)
    .action(start((run) => run.getNodes));
  const kubeconfig = new Command('kubeconfig')
    .description('print the kubeconfig of a cluster')
    .option(...nameOption)
    .option('--internal', "with the node's own address, for use inside the network", false)
    .option(...providerOption)
    .action(start((run) => run.getKubeconfig));
  return new Command('get')
    .description('list clusters and nodes, print kubeconfigs')
    .addCommand(clusters)
    .addCommand(nodes)
    .addCommand(kubeconfig);
}

export function exportCommand(): Command {
  const kubeconfig = new Command('kubeconfig')
    .description('write the kubeconfig of a cluster')
    .option(...nameOption)
    .option('--internal', "with the node's own address, for use inside the network", false)
    .option(...kubeconfigOption)
    .option(...providerOption)
    .action(start((run) => run.exportKubeconfig));
  const logs = new Command('logs')
    .description('write logs and descriptions of all nodes into a folder')
    .argument('[folder]', 'where to (default: a new temporary folder)')
    .option(...nameOption)
    .option(...providerOption)
    .action(start((run) => run.exportClusterLogs));
  return new Command('export')
    .description("write a cluster's kubeconfig or logs")
    .addCommand(kubeconfig)
    .addCommand(logs);
}

export function startCommand(): Command {
  const cluster = waitOption(new Command('cluster').description('start a stopped cluster, or put a running one right'))
    .option(...nameOption)
    .option(...kubeconfigOption)
    .option(...providerOption)
    .action(start((run) => run.startOne));
  return new Command('start').description('start a cluster').addCommand(cluster);
}

export function stopCommand(): Command {
  const cluster = new Command('cluster')
    .description('stop a cluster; everything is kept')
    .option(...nameOption)
    .option(...providerOption)
    .action(start((run) => run.stopOne));
  return new Command('stop').description('stop a cluster').addCommand(cluster);
}

export function loadCommand(): Command {
  const sub = (name: string, what: string, argument: string, description: string): Command =>
    new Command(name)
      .description(what)
      .argument(`<${argument}...>`, description)
      .option(...nameOption)
      .option('--nodes <list>', 'comma list of nodes (default: all)')
      .option(...providerOption)
      .option(...jsonOption)
      .action(async (_names: string[], _own: unknown, command: Command) => {
        const { loadArchives, loadNames } = await import('./cluster-load.ts');
        const load = name === 'image-archive' ? loadArchives : loadNames;
        return load(command.args, command.optsWithGlobals<ClusterFlags>());
      });
  return new Command('load')
    .description('load images into the nodes of a cluster')
    .addCommand(sub('image', "load images from kina's store, docker or podman", 'image', 'names of images'))
    .addCommand(sub('docker-image', 'the same, as kind names it', 'image', 'names of images'))
    .addCommand(
      sub('image-archive', 'load all images of archives', 'file', 'OCI or docker archives, compressed or not'),
    );
}

export function execCommand(): Command {
  return new Command('exec')
    .description('run a command in a node')
    .argument('<node>', 'name of the node')
    .argument('<command...>', 'program and arguments, after --')
    .option(...providerOption)
    .action(start((run) => run.exec));
}

export function configCommand(): Command {
  const validate = new Command('validate')
    .description('check a cluster configuration')
    .argument('<file>', 'the file; - is standard input')
    .option('--allow-even-control-planes', 'accept two or four control planes', false)
    .action(start((run) => run.validateConfig));
  return new Command('config').description('cluster configurations').addCommand(validate);
}
