"""One container: from a configuration to a process, its output, its end and the record of it."""
import _signal
import _socket
import os
import sys
import time

import cgroups
from limits import fit_process
from loop import Future, Task, first, sleep, tell, within
from mounts import assemble, dismantle, hold_disk, inside, release_disk
from programs import BUNDLES, crun, start_process
from streams import Log, Streams
from wire import Failure, encode

RECORDS = '/var/lib/kina/shared/containers'
# For the output of a container that has ended, as long as somebody takes it. Its end is announced then at the latest.
DRAIN = 10


def now():
    return str(time.time_ns())


class Container:
    """`changed` is called with every container whose state is another one."""

    def __init__(self, request, changed):
        self.id = request['id']
        self.request = request
        self.changed = changed
        self.disks = []
        self.streams = None
        self.log = None
        self.listeners = set()
        self.exec_groups = cgroups.ExecGroups(self.id)
        self.state = 'creating'
        self.pid = 0
        self.createdAt = now()
        self.startedAt = self.finishedAt = '0'
        self.exitCode = 0
        self.oomKilled = False
        # When it has been made, or could not be.
        self.made = Future()
        # When the first process is gone; when everybody has been told; when the last of its output has been delivered.
        self.process_ended = Future()
        self.exited = Future()
        self.silent = Future()
        self.deleting = None

    @property
    def bundle(self):
        return f'{BUNDLES}/{self.id}'

    def describe(self):
        names = 'id', 'pid', 'createdAt', 'startedAt', 'finishedAt', 'exitCode', 'oomKilled'
        state = 'created' if self.state == 'starting' else self.state
        return {**{name: getattr(self, name) for name in names}, 'state': state}

    async def create(self, pid_path):
        """Everything but running the program. Throws Failure, with nothing left behind."""
        request = self.request
        try:
            os.makedirs(self.bundle, 0o711)
            config = await self._configuration(pid_path)
            with open(f'{self.bundle}/config.json', 'wb') as file:
                file.write(encode(config))
            self.log = Log(request['log'])
            self.streams = Streams(request['terminal'], request['stdin'])
            self.pid, end = await start_with_streams(self.bundle, self.streams, 'create', '--no-new-keyring',
                                                     f'--bundle={self.bundle}', self.id)
        except Exception as error:
            await self.clean_up()
            if isinstance(error, (Failure, OSError, KeyError, TypeError, ValueError)):
                code = error.code if isinstance(error, Failure) else 'failed'
                raise Failure(code, f'container {self.id}: {error}') from None
            raise
        self.state = 'created'
        self.record()
        Task(self._live(end))

    async def _configuration(self, pid_path):
        request = self.request
        config = request['config']
        linux = dict(config.get('linux') or {})
        uids, gids = linux.get('uidMappings'), linux.get('gidMappings')
        lower = await self._hold(request['disk'])
        root = await assemble(self.id, lower, uids, gids)
        folders = [await self._hold(disk) for disk in request.get('imageMounts') or []]
        linux['cgroupsPath'] = cgroups.path_of(self.id)
        linux['namespaces'] = namespaces(linux.get('namespaces') or [], uids, pid_path)
        return {
            **config,
            'root': {**(config.get('root') or {}), 'path': root},
            'process': fit_process(config['process']),
            'mounts': [place_mount(mount, folders, uids) for mount in config.get('mounts') or []],
            'linux': linux,
        }

    async def _hold(self, disk):
        folder = await hold_disk(disk)
        self.disks.append(disk)
        return folder

    async def start(self):
        if self.state != 'created':
            raise Failure('wrong-state', f'container {self.id} is {self.state}, not created')
        self.state = 'starting'
        try:
            await crun(self.bundle, 'start', self.id)
        except Failure:
            self.state = 'created'
            raise
        self.startedAt = now()
        if self.state == 'starting':
            self.state = 'running'
            self.record()
        return {'startedAt': self.startedAt}

    async def _live(self, end):
        """From creation to the end of all output."""
        pumps = [Task(self.streams.pump(channel, self._take, self.process_ended)) for channel in self.streams.outputs]
        code = await end
        self.finishedAt = now()
        self.exitCode = code
        self.oomKilled = cgroups.was_oom_killed(self.id)
        self.process_ended.set()
        # What it left behind in a process namespace that others share.
        await cgroups.kill(self.id)
        late = sleep(DRAIN)
        for pump in pumps:
            await first(pump, late)
        late.set()
        self.state = 'exited'
        self.record()
        self.exited.set()
        for pump in pumps:
            await first(pump)
        self.silent.set()
        self.streams.close()
        self.log.close()

    async def _take(self, channel, data):
        """Output, or its end: to the log, then to everybody who is attached and keeps up."""
        if data:
            self.log.add(channel, data)
        else:
            self.log.end(channel)
        for client in list(self.listeners):
            client.post(channel, data)
        for client in list(self.listeners):
            if not await client.keeps_up():
                self.listeners.discard(client)
                client.hang_up()

    async def stop(self, number, seconds):
        """Asks, waits, insists. Returns when it is over, output included."""
        if self.state == 'created':
            seconds = 0
        if self.state != 'exited' and seconds > 0:
            send(self.pid, number)
            await within(seconds, self.process_ended)
        if not self.process_ended.done:
            send(self.pid, _signal.SIGKILL)
            await cgroups.kill(self.id)
        await self.exited

    async def delete(self):
        if self.state != 'exited':
            await self.stop(_signal.SIGKILL, 0)
        await self.clean_up()
        try:
            os.unlink(f'{RECORDS}/{self.id}.json')
        except FileNotFoundError:
            pass

    async def clean_up(self):
        """Whatever of it there is."""
        for client in list(self.listeners):
            client.hang_up()
        if self.streams:
            self.streams.close()
        if self.log:
            self.log.close()
        if os.path.exists(f'/run/kina/crun/{self.id}'):
            try:
                await crun(self.bundle, 'delete', '--force', self.id)
            except Failure as failure:
                tell(f'container {self.id}: {failure}')
        await dismantle(self.id)
        disks, self.disks = self.disks, []
        for disk in disks:
            await release_disk(disk)
        remove_folder(self.bundle)

    def record(self):
        """Writes the record that outlives the sandbox, whole or not at all, and tells everybody."""
        self.changed(self)
        path = f'{RECORDS}/{self.id}.json'
        try:
            with open(path + '.new', 'wb') as file:
                file.write(encode(self.describe()))
            os.replace(path + '.new', path)
        except OSError as error:
            tell(f'{path}: {error.strerror}')


async def start_with_streams(folder, streams, *arguments):
    """Has crun start a process with these streams. Answers with its number and the future of its exit code."""
    if not streams.terminal:
        try:
            return await start_process(folder, *arguments, files=streams.theirs)
        finally:
            streams.handed_over()
    # crun makes the terminal inside the container and sends us its other end.
    path = f'{folder}/console'
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        listener.bind(path)
        listener.listen(1)
        started = await start_process(folder, arguments[0], f'--console-socket={path}', *arguments[1:])
        # crun has connected and sent before it ended.
        fd, _ = listener._accept()
        connection = _socket.socket(fileno=fd)
        room = _socket.CMSG_SPACE(4)
        _, ancillary, _, _ = connection.recvmsg(256, room)
        connection.close()
        for level, kind, data in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                master = int.from_bytes(data[:4], sys.byteorder)
                os.set_inheritable(master, False)
                streams.take_terminal(master)
                return started
        raise Failure('failed', 'the runtime made no terminal')
    finally:
        listener.close()
        os.unlink(path)


def namespaces(given, uids, pid_path):
    """Network, IPC and host name are the sandbox's: no namespace of these kinds."""
    kept = [one for one in given if one['type'] in ('mount', 'cgroup', 'user', 'time')]
    types = [one['type'] for one in kept]
    kept += [{'type': kind} for kind in ('mount', 'cgroup') if kind not in types]
    if uids and 'user' not in types:
        kept.append({'type': 'user'})
    if pid_path == 'own':
        kept.append({'type': 'pid'})
    elif pid_path:
        kept.append({'type': 'pid', 'path': pid_path})
    return kept


def place_mount(mount, images, uids):
    """Parts of images get their paths. Only who owns the namespace behind it may mount a message queue or sysfs, and a
    container with accounts of its own does not own those that the pod shares: it gets the sandbox's."""
    if uids and mount.get('type') in ('mqueue', 'sysfs'):
        source = '/dev/mqueue' if mount['type'] == 'mqueue' else '/sys'
        return {**mount, 'type': 'bind', 'source': source, 'options': ['rbind', *(mount.get('options') or [])]}
    source = mount.get('source') or ''
    if source.startswith('image:'):
        index, _, path = source[6:].partition('/')
        return {**mount, 'source': inside(images[int(index)], path)}
    return mount


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def remove_folder(path):
    """A bundle: files, no folders."""
    if os.path.isdir(path):
        for name in os.listdir(path):
            os.unlink(f'{path}/{name}')
        os.rmdir(path)


def signal_number(name):
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-2`. Throws Failure."""
    word = str(name or 'SIGTERM').upper().removeprefix('SIG')
    base, sign, offset = word, '', ''
    for one in '+', '-':
        if one in word:
            base, sign, offset = word.partition(one)
    number = int(base) if base.isdigit() else getattr(_signal, 'SIG' + base, None)
    if isinstance(number, int) and (not sign or (base in ('RTMIN', 'RTMAX') and offset.isdigit())):
        number += int(sign + offset) if sign else 0
        if 0 < number <= _signal.SIGRTMAX:
            return number
    raise Failure('invalid', f'{name} is no signal')
