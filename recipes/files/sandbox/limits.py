"""What this sandbox can give: capabilities, limits, scores. A sandbox may have less than root on a machine of its own
(a system container without CAP_SYS_RESOURCE, say), and what it does not have it cannot promise: then it gives what
it has, because a pod that wants a little more than there is should start all the same."""
import os

from cgroups import VERSION, folder, number, read

# linux/capability.h, in order.
NAMES = tuple('CAP_' + name for name in '''
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'''.split())
# The words of /proc/self/limits.
LIMITS = {
    'RLIMIT_CPU': 'Max cpu time', 'RLIMIT_FSIZE': 'Max file size', 'RLIMIT_DATA': 'Max data size',
    'RLIMIT_STACK': 'Max stack size', 'RLIMIT_CORE': 'Max core file size', 'RLIMIT_RSS': 'Max resident set',
    'RLIMIT_NPROC': 'Max processes', 'RLIMIT_NOFILE': 'Max open files', 'RLIMIT_MEMLOCK': 'Max locked memory',
    'RLIMIT_AS': 'Max address space', 'RLIMIT_LOCKS': 'Max file locks', 'RLIMIT_SIGPENDING': 'Max pending signals',
    'RLIMIT_MSGQUEUE': 'Max msgqueue size', 'RLIMIT_NICE': 'Max nice priority',
    'RLIMIT_RTPRIO': 'Max realtime priority', 'RLIMIT_RTTIME': 'Max realtime timeout',
}


def capabilities():
    """Those that can be given away: the bounding set."""
    line = next(line for line in read('/proc/self/status').splitlines() if line.startswith('CapBnd:'))
    mask = int(line.split()[1], 16)
    return [name for bit, name in enumerate(NAMES) if mask >> bit & 1]


def hard_limits():
    """Name to number, without what is unlimited."""
    lines = read('/proc/self/limits').splitlines()
    found = {}
    for name, words in LIMITS.items():
        line = next((line for line in lines if line.startswith(words)), '')
        hard = line[len(words):].split()[1:2]
        if hard and hard[0].isdigit():
            found[name] = int(hard[0])
    return found


def fit_process(process):
    """The OCI `process`, cut down to what can be given here."""
    able = capabilities()
    process = {**process, 'capabilities': {
        kind: [one for one in names if one in able] for kind, names in (process.get('capabilities') or {}).items()
    }}
    # Not even root may go beyond this one.
    most = {'RLIMIT_NOFILE': number('/proc/sys/fs/nr_open')}
    if 'CAP_SYS_RESOURCE' not in able:
        own = int(read('/proc/self/oom_score_adj', '0'))
        process['oomScoreAdj'] = max(own, process.get('oomScoreAdj', own))
        most = hard_limits()
    process['rlimits'] = [
        {**limit, **{kind: min(limit[kind], most.get(limit['type'], limit[kind])) for kind in ('soft', 'hard')}}
        for limit in process.get('rlimits') or []
    ]
    return process


def kernel_version():
    """(6, 18)"""
    return tuple(int(part) for part in os.uname().release.split('-')[0].split('.')[:2])


def memory():
    """Bytes that the sandbox may use: of the machine, or its group's limit where that is less."""
    line = next(line for line in read('/proc/meminfo').splitlines() if line.startswith('MemTotal:'))
    most = int(line.split()[1]) << 10
    limit = 'memory.max' if VERSION == 2 else 'memory.limit_in_bytes'
    return min(most, number(f'{folder("", "memory")}/{limit}') or most)


def can_map_users():
    """Whether a user namespace can be made and owners of files mapped into it (overlays over mapped images: Linux 5.19)."""
    return kernel_version() >= (5, 19) and read('/proc/sys/user/max_user_namespaces', '0').strip() != '0'


def set_sysctls(settings):
    """Throws OSError or ValueError, naming the key."""
    for key, value in settings.items():
        # `a.b` and, for names with a dot in them, `a/b.c`: as sysctl(8).
        path = key if '/' in key else key.replace('.', '/')
        if '..' in path.split('/'):
            raise ValueError(f'{key} is no kernel setting')
        try:
            with open(f'/proc/sys/{path}', 'w') as file:
                file.write(value)
        except OSError as error:
            raise OSError(error.errno, f'the kernel setting {key}={value}: {error.strerror}') from None
