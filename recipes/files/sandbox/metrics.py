"""Figures by the names that cAdvisor gave them, for whoever scrapes: of each container from its control groups, and of the
sandbox's network. A sample is a value and the values of its own labels; what the kernel does not tell is left out."""
import os
import time

from cgroups import VERSION, folder, members, number, read, table
from mounts import CONTAINERS


def of_container(name, started):
    """`started`: nanoseconds since 1970. Names without their first word, `container`."""
    memory, cpu = folder(name, 'memory'), folder(name, 'cpu')
    figures = {**_cpu(name, cpu), **_memory(memory), **_processes(name), **_files(), **_disks(name)}
    figures['last_seen'] = [[int(time.time())]]
    figures['start_time_seconds'] = [[started // 10 ** 9]]
    return figures


def _cpu(name, cpu):
    stat = table(f'{cpu}/cpu.stat')
    if VERSION == 2:
        used, user, system = (stat.get(f'{which}_usec', 0) / 1e6 for which in ('usage', 'user', 'system'))
        throttled = stat.get('throttled_usec', 0) / 1e6
        quota, _, period = read(f'{cpu}/cpu.max', 'max 100000').strip().partition(' ')
        shares = _shares(number(f'{cpu}/cpu.weight'))
    else:
        account = folder(name, 'cpuacct')
        used = number(f'{account}/cpuacct.usage') / 1e9
        ticks = table(f'{account}/cpuacct.stat')
        user, system = (ticks.get(which, 0) / os.sysconf('SC_CLK_TCK') for which in ('user', 'system'))
        throttled = stat.get('throttled_time', 0) / 1e9
        quota, period = read(f'{cpu}/cpu.cfs_quota_us').strip(), read(f'{cpu}/cpu.cfs_period_us').strip()
        shares = number(f'{cpu}/cpu.shares')
    figures = {
        'cpu_usage_seconds_total': [[int(used)]],
        'cpu_user_seconds_total': [[int(user)]],
        'cpu_system_seconds_total': [[int(system)]],
        'cpu_cfs_periods_total': [[stat.get('nr_periods', 0)]],
        'cpu_cfs_throttled_periods_total': [[stat.get('nr_throttled', 0)]],
        'cpu_cfs_throttled_seconds_total': [[int(throttled)]],
        'spec_cpu_period': [[int(period or 0)]],
        'spec_cpu_shares': [[shares]],
    }
    if quota.isdigit():
        figures['spec_cpu_quota'] = [[int(quota)]]
    return figures


def _shares(weight):
    """What a weight of version 2 was made of: the inverse of runtimes' 2..262144 to 1..10000."""
    return 2 + ((weight - 1) * 262142) // 9999 if weight else 0


def _memory(memory):
    stat = table(f'{memory}/memory.stat')
    if VERSION == 2:
        usage, most = number(f'{memory}/memory.current'), number(f'{memory}/memory.peak')
        cache, rss, mapped = (stat.get(key, 0) for key in ('file', 'anon', 'file_mapped'))
        inactive, kernel = stat.get('inactive_file', 0), stat.get('kernel', stat.get('kernel_stack', 0))
        swap = number(f'{memory}/memory.swap.current')
        limit, swap_limit = number(f'{memory}/memory.max'), number(f'{memory}/memory.swap.max')
        events = table(f'{memory}/memory.events')
        failures, killed = events.get('max', 0), events.get('oom_kill', 0)
        faults = [(stat.get('pgfault', 0), 'pgfault'), (stat.get('pgmajfault', 0), 'pgmajfault')]
    else:
        usage, most = number(f'{memory}/memory.usage_in_bytes'), number(f'{memory}/memory.max_usage_in_bytes')
        cache, rss, mapped, inactive, swap = (
            stat.get(f'total_{key}', 0) for key in ('cache', 'rss', 'mapped_file', 'inactive_file', 'swap'))
        kernel = number(f'{memory}/memory.kmem.usage_in_bytes')
        limit, swap_limit = number(f'{memory}/memory.limit_in_bytes'), number(f'{memory}/memory.memsw.limit_in_bytes')
        failures = number(f'{memory}/memory.failcnt')
        killed = table(f'{memory}/memory.oom_control').get('oom_kill', 0)
        faults = [(stat.get('total_pgfault', 0), 'pgfault'), (stat.get('total_pgmajfault', 0), 'pgmajfault')]
    return {
        'memory_usage_bytes': [[usage]],
        'memory_max_usage_bytes': [[most]],
        'memory_working_set_bytes': [[max(0, usage - inactive)]],
        'memory_cache': [[cache]],
        'memory_rss': [[rss]],
        'memory_mapped_file': [[mapped]],
        'memory_kernel_usage': [[kernel]],
        'memory_swap': [[swap]],
        'memory_failcnt': [[failures]],
        'memory_failures_total': [[value, kind, 'hierarchy'] for value, kind in faults],
        'oom_events_total': [[killed]],
        'spec_memory_limit_bytes': [[_bound(limit)]],
        'spec_memory_swap_limit_bytes': [[_bound(swap_limit)]],
    }


def _bound(limit):
    """Version 1 says "none" as the largest number of whole pages."""
    return 0 if limit >= 1 << 62 else limit


def _processes(name):
    threads = descriptors = sockets = processes = 0
    for pid in members(name):
        processes += 1
        try:
            threads += len(os.listdir(f'/proc/{pid}/task'))
            links = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
        except OSError:
            continue  # it has just ended
        descriptors += len(links)
        sockets += sum(1 for link in links if link.startswith('socket:'))
    return {
        'processes': [[processes]],
        'threads': [[threads]],
        'threads_max': [[number(f'{folder(name, "pids")}/pids.max')]],
        'file_descriptors': [[descriptors]],
        'sockets': [[sockets]],
    }


def _files():
    """Of the storage that all writable layers of the sandbox are on."""
    storage = os.statvfs(CONTAINERS)
    device = 'storage'
    return {
        'fs_inodes_total': [[storage.f_files, device]],
        'fs_inodes_free': [[storage.f_ffree, device]],
        'fs_limit_bytes': [[storage.f_blocks * storage.f_frsize, device]],
        'fs_usage_bytes': [[(storage.f_blocks - storage.f_bfree) * storage.f_frsize, device]],
    }


def _disks(name):
    """What was read and written, by device. Of a device that nothing was read from the kernel says nothing."""
    moved = {}
    if VERSION == 2:
        words = {'rbytes': ('bytes', 'Read'), 'wbytes': ('bytes', 'Write'), 'rios': ('', 'Read'), 'wios': ('', 'Write')}
        for line in read(f'{folder(name, "io")}/io.stat').splitlines():
            device, *pairs = line.split()
            for key, _, value in (pair.partition('=') for pair in pairs):
                if key in words:
                    moved[(device, *words[key])] = int(value)
    else:
        for unit, file in (('bytes', 'io_service_bytes'), ('', 'io_serviced')):
            for line in read(f'{folder(name, "blkio")}/blkio.throttle.{file}').splitlines():
                device, *rest = line.split()
                if len(rest) == 2 and rest[0] in ('Read', 'Write'):
                    moved[(device, unit, rest[0])] = int(rest[1])
    figures = {}
    for (device, unit, way), value in moved.items():
        names = 'reads' if way == 'Read' else 'writes'
        figures.setdefault(f'fs_{names}_{unit}_total' if unit else f'fs_{names}_total', []).append([value, device])
        if unit:
            major, _, minor = device.partition(':')
            figures.setdefault('blkio_device_usage_total', []).append([value, device, major, minor, way])
    return figures


def of_network():
    """By interface: proc_pid_net(5)."""
    fields = ('bytes', 'packets', 'errors', 'packets_dropped')
    figures = {}
    for line in read('/proc/self/net/dev').splitlines()[2:]:
        name, _, rest = line.partition(':')
        values = [int(value) for value in rest.split()]
        for way, at in (('receive', 0), ('transmit', 8)):
            for offset, field in enumerate(fields):
                figures.setdefault(f'network_{way}_{field}_total', []).append([values[at + offset], name.strip()])
    return figures
