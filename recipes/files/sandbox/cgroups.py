"""Control groups of both generations: the place of containers below the sandbox's own, their figures, and the killing of
all that is in one.

In version 2 a group that hands controllers down may not hold processes, so the agent moves into a group beside the
containers'. In version 1 crun makes one in every hierarchy.
"""
import os
import time

from loop import sleep

TOP = '/sys/fs/cgroup'
VERSION = 2 if os.path.exists(f'{TOP}/cgroup.controllers') else 1


def set_up():
    """Before the first container. A sandbox whose groups cannot be written is told by the first container."""
    if VERSION == 1:
        return
    try:
        os.makedirs(f'{TOP}/agent', exist_ok=True)
        for pid in read(f'{TOP}/cgroup.procs').split():
            put(f'{TOP}/agent/cgroup.procs', pid)
        os.makedirs(f'{TOP}/kina', exist_ok=True)
        wanted = ' '.join(f'+{name}' for name in controllers())
        put(f'{TOP}/cgroup.subtree_control', wanted)
        put(f'{TOP}/kina/cgroup.subtree_control', wanted)
    except OSError:
        pass


def controllers():
    if VERSION == 2:
        return read(f'{TOP}/cgroup.controllers').split()
    return sorted(name for name in os.listdir(TOP) if os.path.exists(f'{TOP}/{name}/cgroup.procs')
                  and name not in ('systemd', 'unified'))


def path_of(name):
    """For `linux.cgroupsPath`."""
    return f'/kina/{name}'


def folder(name, controller):
    """Of a container's group; of the sandbox's without a name."""
    return TOP + ('' if VERSION == 2 else f'/{controller}') + (path_of(name) if name else '')


def read(path, default=''):
    try:
        with open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return default


def put(path, text):
    with open(path, 'w') as file:
        file.write(text)


def number(path):
    """0 for what is not there, and for `max`."""
    text = read(path).strip()
    return int(text) if text.isdigit() else 0


def table(path):
    """A file of `name value` lines."""
    return {name: int(value) for name, _, value in (line.partition(' ') for line in read(path).splitlines())
            if value.strip().isdigit()}


def was_oom_killed(name):
    """The kernel killed something in it for want of memory."""
    events = 'memory.events' if VERSION == 2 else 'memory.oom_control'
    return table(f'{folder(name, "memory")}/{events}').get('oom_kill', 0) > 0


def members(name, below=''):
    """Processes of a container, or of a group below its own."""
    for group, _, _ in os.walk(folder(name, 'pids') + below):
        for pid in read(f'{group}/cgroup.procs').split():
            yield int(pid)


class ExecGroups:
    """Groups below a container's, one for each process that is started in it and must be found again with all that it
    starts: the runtime puts it there before it runs. They are used again, because making one takes longer than starting
    the process."""

    def __init__(self, container):
        self.container = container
        self.spare = []
        self.made = 0

    def take(self):
        if self.spare:
            return self.spare.pop()
        self.made += 1
        name = f'exec-{self.made}'
        for parent in self._parents():
            os.mkdir(f'{parent}/{name}')
            if VERSION == 1 and parent.startswith(f'{TOP}/cpuset/'):
                for file in 'cpuset.cpus', 'cpuset.mems':
                    put(f'{parent}/{name}/{file}', read(f'{parent}/{file}'))
        return name

    def give_back(self, name, used_up):
        """One in which something still runs goes with the container. One that was killed goes now: it takes no more
        forks in version 1, and in version 2 Linux 6.12 kills whoever is cloned into it later."""
        if used_up:
            for parent in self._parents():
                try:
                    os.rmdir(f'{parent}/{name}')
                except OSError:
                    pass
        elif not list(members(self.container, f'/{name}')):
            self.spare.append(name)

    def _parents(self):
        """In version 1 one in every hierarchy: the runtime stays out of those where there is none."""
        if VERSION == 2:
            return [folder(self.container, '')]
        all_of_them = (f'{TOP}/{one}{path_of(self.container)}' for one in (*controllers(), 'systemd'))
        return [parent for parent in all_of_them if os.path.isdir(parent)]


async def kill(name, below=''):
    """SIGKILL for every process in a container's group and below; returns when none is left. Bounded: what hangs in the
    kernel stays."""
    group = folder(name, 'pids') + below
    try:
        # Whoever forks faster than we kill cannot fork any more.
        put(f'{group}/pids.max', '0')
    except OSError:
        pass
    for attempt in range(200):
        try:
            put(f'{group}/cgroup.kill', '1')  # version 2, since Linux 5.14
        except OSError:
            pass
        pids = list(members(name, below))
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        await sleep(0.001 if attempt < 20 else 0.02)


def processes_of_machine():
    """In the root group of a virtual machine there are the kernel's threads as well."""
    return sum(number(f'{TOP}/{group}/pids.current') for group in ('agent', 'kina'))


def figures(name=''):
    """CgroupStats of a container, or of the whole sandbox."""
    at = time.time_ns()
    memory = folder(name, 'memory')
    detail = table(f'{memory}/memory.stat')
    if VERSION == 2:
        cpu = table(f'{folder(name, "cpu")}/cpu.stat').get('usage_usec', 0) * 1000
        usage, swap = number(f'{memory}/memory.current'), number(f'{memory}/memory.swap.current')
        rss, total = detail.get('anon', 0), ''
    else:
        cpu = number(f'{folder(name, "cpuacct")}/cpuacct.usage')
        usage, swap = number(f'{memory}/memory.usage_in_bytes'), detail.get('total_swap', 0)
        rss, total = detail.get('total_rss', 0), 'total_'
    if not name and not usage:
        # The root group of a virtual machine has no figures of its own.
        meminfo = {key: int(value.split()[0]) << 10
                   for key, value in (line.split(':') for line in read('/proc/meminfo').splitlines())}
        usage = meminfo['MemTotal'] - meminfo['MemFree']
        rss = meminfo['AnonPages']
        detail = {'inactive_file': meminfo['Inactive(file)'], **detail}
        swap = meminfo['SwapTotal'] - meminfo['SwapFree']
    return {
        'at': str(at),
        'cpuNanoseconds': cpu,
        'memoryBytes': usage,
        'workingSetBytes': max(0, usage - detail.get(f'{total}inactive_file', 0)),
        'rssBytes': rss,
        'pageFaults': detail.get(f'{total}pgfault', 0),
        'majorPageFaults': detail.get(f'{total}pgmajfault', 0),
        'swapBytes': swap,
        'processes': number(f'{folder(name, "pids")}/pids.current') or processes_of_machine(),
    }
