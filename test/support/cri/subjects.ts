/**
 * What critest v1.36 checks of a pod that can be a machine, 109 subjects in its groups, and the title of the specification
 * here that checks the same. A subject is what its specification is about, in few words.
 */

interface Group {
  readonly name: string;
  /** How many specifications critest has there, without those that no machine can meet. */
  readonly size: number;
  /** Subject to title. */
  readonly covered: Readonly<Record<string, string>>;
}

export const groups: readonly Group[] = [
  {
    name: 'Runtime info',
    size: 2,
    covered: {
      version: 'the version has a name, a number and the version of the interface',
      conditions: 'the status says that runtime and network are ready',
    },
  },
  {
    name: 'PodSandbox: lifecycle, attributes, metrics, sysctls',
    size: 8,
    covered: {
      running: 'a sandbox that was run is ready and listed',
      stopping: 'a sandbox that was stopped is not ready',
      removing: 'a sandbox that was removed is not listed',
      attributes: 'status and list of a sandbox have its metadata, labels and annotations',
      'metrics: descriptors': 'every metric is described with its labels',
      'metrics: values': 'a pod has a value of every metric, with as many labels as described',
      'sysctls: safe': 'a pod has its own safe sysctl',
      'sysctls: unsafe': 'a pod has its own unsafe sysctl',
    },
  },
  {
    name: 'Container: lifecycle, ExecSync, stats',
    size: 14,
    covered: {
      creating: 'a container that was created is listed',
      attributes: 'status and list of a container have its metadata, labels and annotations',
      starting: 'a container that was started is running',
      stopping: 'a container that was stopped has ended',
      'removing: created': 'a container that never ran can be removed',
      'removing: running': 'a running container can be removed',
      'removing: stopped': 'a stopped container can be removed',
      ExecSync: 'a program run in a container answers with its output and its code',
      'ExecSync: time limit': 'a program that exceeds its time is told so, and is gone',
      'stats: one': 'a container has figures of its processor time and memory',
      'stats: by id': 'figures of containers are found by id',
      'stats: without a filter': 'figures of all containers have a running one',
      'stats: three without a filter': 'figures of all containers have three of one pod',
      'stats: by labels': 'figures of containers are found by labels, and not by others',
    },
  },
  {
    name: 'Container: volumes, logs',
    size: 4,
    covered: {
      'volume: folder': 'a folder of the host is mounted',
      'volume: link to a folder': 'a folder that the host has under a link is mounted',
      'log: content': 'what a container says is in its log',
      'log: reopening': 'a log that was moved away is followed by a new one',
    },
  },
  {
    name: 'Mount propagation: rprivate',
    size: 1,
    covered: { rprivate: 'a private mount passes no later mount on, in neither direction' },
  },
  {
    name: 'OOM',
    size: 1,
    covered: { OOMKilled: 'a container that takes more memory than it may ends with 137, OOMKilled' },
  },
  {
    name: 'Read-only mounts: recursive',
    size: 4,
    covered: {
      recursive: 'a recursively read-only mount is read-only in what is mounted below it',
      'with rslave': 'a recursively read-only mount that takes the host’s mounts is refused',
      'with rshared': 'a recursively read-only mount that gives and takes mounts is refused',
      'not read-only': 'a recursively read-only mount that is not read-only is refused',
    },
  },
  {
    name: 'Idempotence',
    size: 7,
    covered: {
      'StopPodSandbox: unknown': 'an unknown sandbox can be stopped',
      'StopPodSandbox: stopped': 'a stopped sandbox can be stopped',
      'RemovePodSandbox: unknown': 'an unknown sandbox can be removed',
      'StopContainer: unknown': 'an unknown container can be stopped',
      'StopContainer: stopped': 'a stopped container can be stopped',
      'RemoveContainer: unknown': 'an unknown container can be removed',
      'RemoveImage: unknown': 'an unknown image can be removed',
    },
  },
  {
    name: 'Images: manager, consistency, identifiers',
    size: 15,
    covered: {
      'pull: tag': 'an image is pulled by its tag, has that one, and is removed by its id',
      'pull: time limit': 'a pull whose time is over says so',
      'pull: no tag': 'an image that is pulled without a tag is the latest',
      'pull: digest': 'an image that is pulled by its digest has this and no tag',
      'status: all references': 'the status of an image is the same by id, by tag and by digest',
      'status: users': 'an image says which user it wants, by number or by name',
      'list: three images': 'three images with a tag each are three in the list',
      'list: three tags': 'one image with three tags is one in the list, with all of them',
      'removal: all tags': 'an image that is removed by one tag has no tag left',
      'removal: all registries': 'an image that is removed by one registry’s name has no other registry’s left',
      'consistency: removed': 'an image that was removed is not there a moment later',
      'consistency: pulled': 'an image that was pulled is there a moment later',
      'consistency: removed at once': 'an image that five remove at once is gone for each of them',
      'identifier: everywhere': 'an image has one id, wherever it is told',
      'identifier: two registries': 'an image that two registries have has one id',
    },
  },
  {
    name: 'Image volumes',
    size: 5,
    covered: {
      digest: 'a container’s status tells the image that is a volume',
      'read-only content': 'an image that is a volume can be read and executed, and not written',
      'to write to': 'an image as a volume to write to is refused',
      'subPath: there': 'a folder of an image is a volume',
      'subPath: not there': 'a folder that an image does not have is refused as a volume',
    },
  },
  {
    name: 'Multiple containers',
    size: 3,
    covered: {
      network: 'one of two containers answers at the pod’s address, and the other reaches it',
      log: 'two containers of a pod have a log each',
      exec: 'programs are run in the container of two that is named',
    },
  },
  {
    name: 'Networking',
    size: 4,
    covered: {
      DNS: 'resolv.conf has the servers, domains and options that the pod was given',
      hostname: 'a container has its pod’s host name',
      'container port': 'a server in a pod answers this host at the pod’s address',
      'host port': 'a server in a pod answers at the host’s port that the pod asked for',
    },
  },
  {
    name: 'Streaming',
    size: 4,
    covered: {
      exec: 'a command without input streams what it says, exactly, and its end',
      'exec on a terminal': 'a command on a terminal takes input, says what it says, and knows the terminal’s size',
      attach: 'a container that waits for input is attached to, answers, and ends with the input',
      'port forward': 'a pod’s port is forwarded, twice through one connection',
    },
  },
  {
    name: 'Security context',
    size: 37,
    covered: {
      'namespaces: HostPID': 'containers with the node’s processes see each other’s',
      'namespaces: no HostIpc': 'shared memory of the host is not a pod’s',
      'namespaces: PodPID': 'a container with its pod’s processes is not the first of them',
      'namespaces: ContainerPID': 'a container with processes of its own is the first of them',
      'namespaces: no HostNetwork': 'a listener of the host is not reachable in a pod',
      SupplementalGroups: 'a container has the groups that were asked for',
      RunAsUser: 'a container runs as a user by number',
      RunAsUserName: 'a container runs as a user by name',
      RunAsGroup: 'a container runs as a user and a group',
      'RunAsGroup alone': 'a container with a group and no user is refused',
      'groups policy: Merge': 'groups that were asked for are added to those of the image',
      'groups policy: Strict': 'groups that were asked for are all, where the policy is strict',
      'root: writable': 'a container writes to its root',
      'root: read-only': 'a container does not write to a read-only root',
      privileged: 'a privileged container changes its network',
      'not privileged': 'a container without privileges does not change its network',
      'capabilities: one added': 'a capability that was added is there, and only in that container',
      'capabilities: one dropped': 'a capability that was dropped is not there',
      'capabilities: all added': 'all capabilities are added',
      'capabilities: all dropped': 'all capabilities are dropped',
      MaskedPaths: 'a masked path is not there to be run',
      ReadonlyPaths: 'a read-only path is not written to',
      'no new privileges': 'a program that gives root does not, without new privileges',
      'new privileges': 'a program that gives root does, with new privileges',
      'seccomp: Unconfined': 'an unconfined container has no filter',
      'seccomp: Localhost': 'a profile of the host refuses what it lists',
      'seccomp: RuntimeDefault': 'a container with the runtime’s profile has a filter',
      'seccomp: none': 'a container without a profile has no filter',
      'seccomp: host name, unconfined': 'an unconfined container with SYS_ADMIN changes its host name',
      'seccomp: host name, Localhost': 'a profile refuses to change the host name, SYS_ADMIN or not',
      'seccomp: privileged': 'a profile is ignored in a privileged container',
      'users: POD': 'a pod has users of its own, which are others on the node',
      'users: NODE': 'a pod has the node’s users',
      'users: two ranges': 'a pod with two ranges of users is refused',
      'users: no 0': 'a pod whose users have no 0 is refused',
      'users: CONTAINER': 'a pod with users of a container is refused',
      'users: TARGET': 'a pod with users of a target is refused',
    },
  },
];
