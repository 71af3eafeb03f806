"""The operations of src/cri/agent/protocol.ts, one task per call.

A call goes on when its client is gone, so that nothing is left half-done; but there the client is the call: a process
that was started for a client ends with it, and what a container says then goes to its log alone.
"""
import _signal
import os

import cgroups
import limits
import metrics
import network
import pause
from container import Container, remove_folder, signal_number, start_with_streams
from loop import Future, Task, close, first, hung_up, read, sleep, tell, within, write
from programs import call, crun
from stats import Usage
from streams import Streams
from wire import CONTROL, DATA_FRAME, STDIN, STDOUT, Failure, Gone, decode, encode

PROTOCOL = 1
EXECS = '/run/kina/exec'
# Seconds that a killed process has to be gone.
HANGS = 10
# For a client to say what it wants; and what is kept for one that listens to events without reading them.
REQUEST_TIME = 60
EVENTS_BACKLOG = 1 << 20


class Calls:
    def __init__(self):
        self.containers = {}
        self.watchers = set()
        self.usage = Usage()
        self.runtime = None
        self.paused = 0
        self.share_pids = False
        self.execs = 0

    async def answer(self, connection):
        """One connection from its request to its end."""
        op = None
        try:
            asked = Task(connection.frame())
            if not await within(REQUEST_TIME, asked):
                asked.cancel()
                return
            frame = await asked
            if frame is None:
                return
            request = decode(frame[1])
            if frame[0] != CONTROL or not isinstance(request, dict):
                raise Failure('invalid', 'that is no request')
            op = request.get('op')
            handler = getattr(self, f'on_{op}', None)
            if handler is None:
                raise Failure('invalid', f'there is no operation {op!r}')
            reply = await handler(connection, request)
            connection.say({} if reply is None else reply)
        except Failure as failure:
            connection.say({'error': {'code': failure.code, 'message': str(failure)}})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            connection.say({'error': {'code': 'invalid', 'message': f'{op}: {type(error).__name__} {error}'}})
        except OSError as error:
            connection.say({'error': {'code': 'failed', 'message': f'{op}: {error}'}})
        except Gone:
            pass
        finally:
            await connection.finish()

    def _container(self, name):
        container = self.containers.get(name)
        if container is None or container.state == 'creating':
            raise Failure('not-found', f'there is no container {name}')
        return container

    def _changed(self, container):
        self._tell_watchers({'container': container.describe()})

    def _tell_watchers(self, event):
        for watcher in list(self.watchers):
            if len(watcher.queue) > EVENTS_BACKLOG:
                watcher.hang_up()
            watcher.say(event)

    def _listed(self):
        return [one.describe() for one in self.containers.values() if one.state != 'creating']

    # The sandbox

    async def on_hello(self, connection, request):
        if self.runtime is None:
            self.runtime = (await call('/usr/bin/crun', '--version')).split()[2]
        kernel = os.uname().release
        return {
            'protocol': PROTOCOL,
            'runtime': self.runtime,
            'kernel': kernel,
            'cgroupVersion': cgroups.VERSION,
            'controllers': cgroups.controllers(),
            'capabilities': limits.capabilities(),
            'cpus': len(os.sched_getaffinity(0)),
            'memory': limits.memory(),
            'addresses': network.addresses(),
            'recursiveReadOnly': limits.kernel_version() >= (5, 12),
            'userNamespaces': limits.can_map_users(),
        }

    async def on_configure(self, connection, request):
        network.set_hostname(request['hostname'])
        limits.set_sysctls(request.get('sysctls') or {})
        for route in request.get('routes') or []:
            network.add_route(route['destination'], route['gateway'])
        self.share_pids = bool(request.get('sharePids'))

    # Containers

    async def on_create(self, connection, request):
        name = request['id']
        if not name or not all(one.isalnum() or one in '_.-' for one in name) or name.startswith('.'):
            raise Failure('invalid', f'{name!r} is no id')
        if name in self.containers:
            raise Failure('exists', f'there is a container {name}')
        container = self.containers[name] = Container(request, self._changed)
        try:
            await container.create(self._process_namespace(request['pid']))
        except BaseException:
            del self.containers[name]
            raise
        finally:
            container.made.set()
        return {'pid': container.pid}

    def _process_namespace(self, wanted):
        """`own`, empty for the sandbox's, or the path of another."""
        if wanted == 'container':
            return 'own'
        if wanted == 'node':
            return ''
        if wanted == 'pod':
            self.paused = self.paused or pause.start()
            return f'/proc/{self.paused}/ns/pid'
        target = self._container(wanted['target'])
        if target.state != 'running':
            raise Failure('wrong-state', f'container {target.id}, whose processes are to be shared, does not run')
        return f'/proc/{target.pid}/ns/pid'

    async def on_start(self, connection, request):
        return await self._container(request['id']).start()

    async def on_stop(self, connection, request):
        number = signal_number(request['signal'])
        container = self.containers.get(request['id'])
        if container and container.state != 'creating':
            await container.stop(number, request['timeout'] / 1000)

    async def on_delete(self, connection, request):
        container = self.containers.get(request['id'])
        if container is None:
            return
        # Who asked for it may have given up meanwhile, and nobody else will ever ask.
        await container.made
        if container.id not in self.containers:
            return
        if container.deleting is None:
            container.deleting = Task(self._delete(container))
        await container.deleting

    async def _delete(self, container):
        try:
            await container.delete()
        except BaseException:
            container.deleting = None
            raise
        del self.containers[container.id]
        self.usage.forget(container.id)
        self._tell_watchers({'deleted': container.id})

    async def on_list(self, connection, request):
        return {'containers': self._listed()}

    async def on_events(self, connection, request):
        connection.say({'containers': self._listed()})
        self.watchers.add(connection)
        try:
            await hung_up(connection.fd)
        finally:
            self.watchers.discard(connection)
            connection.hang_up()

    async def on_update(self, connection, request):
        container = self._container(request['id'])
        path = f'{container.bundle}/resources.json'
        with open(path, 'wb') as file:
            file.write(encode(request['resources']))
        await crun(container.bundle, 'update', f'--resources={path}', container.id)

    async def on_reopen(self, connection, request):
        container = self._container(request['id'])
        if container.state == 'exited':
            raise Failure('wrong-state', f'container {container.id} has ended')
        container.log.reopen()

    async def on_stats(self, connection, request):
        containers = {}
        for container in list(self.containers.values()):
            if container.state in ('created', 'starting', 'running'):
                used, inodes = await self.usage.of(container.id)
                containers[container.id] = {**cgroups.figures(container.id), 'diskBytes': used, 'inodes': inodes}
        return {'containers': containers, 'sandbox': cgroups.figures(), 'interfaces': network.interfaces()}

    async def on_metrics(self, connection, request):
        running = [one for one in self.containers.values() if one.state == 'running']
        return {'containers': {one.id: metrics.of_container(one.id, int(one.startedAt)) for one in running},
                'network': metrics.of_network()}

    async def stop_all(self, seconds):
        """The sandbox's own end: what runs is asked, and then it is over."""
        running = [Task(one.stop(_signal.SIGTERM, seconds)) for one in self.containers.values() if one.pid]
        late = sleep(seconds + 2)
        for task in running:
            await first(task, late)

    # Streams

    async def on_exec(self, connection, request):
        container = self._container(request['id'])
        if container.state != 'running':
            raise Failure('wrong-state', f'container {container.id} does not run')
        self.execs += 1
        folder = f'{EXECS}/{self.execs}'
        process = limits.fit_process(request['process'])
        group = container.exec_groups.take()
        streams = Streams(bool(process.get('terminal')), request.get('stdin'))
        pumps = []
        feeder = None
        used_up = False
        try:
            os.makedirs(folder, 0o700)
            with open(f'{folder}/process.json', 'wb') as file:
                file.write(encode(process))
            _, end = await start_with_streams(folder, streams, 'exec', '--detach', f'--cgroup={group}',
                                              f'--process={folder}/process.json', container.id)
            connection.say({'started': True})

            async def take(channel, data):
                connection.post(channel, data)
                await connection.drained()

            ended = Future()
            gone = hung_up(connection.fd)
            pumps = [Task(quietly(streams.pump(channel, take, ended))) for channel in streams.outputs]
            feeder = Task(feed(connection, streams, request.get('stdin'), streams.end_input))
            late = sleep(request['timeout'] / 1000) if request.get('timeout') else Future()
            await first(end, late, gone)
            if not end.done:
                used_up = True
                await cgroups.kill(container.id, f'/{group}')
                # What hangs in the kernel dies when it can.
                killed = await within(HANGS, end)
                if late.done and (not killed or end.value == 137):
                    raise Failure('timeout', f'the process took longer than {request["timeout"]} ms and was killed')
            code = await end
            late.set()
            ended.set()
            for pump in pumps:
                await first(pump, gone)
            return {'exitCode': code}
        finally:
            for task in pumps + [feeder]:
                if task:
                    task.cancel()
            streams.close()
            remove_folder(folder)
            container.exec_groups.give_back(group, used_up)

    async def on_attach(self, connection, request):
        container = self._container(request['id'])
        if container.state == 'exited':
            raise Failure('wrong-state', f'container {container.id} has ended')
        connection.say({'started': True})
        once = container.streams.end_input if container.request['stdinOnce'] else nothing
        container.listeners.add(connection)
        feeder = Task(feed(connection, container.streams, request.get('stdin'), once))
        try:
            await first(container.silent, hung_up(connection.fd))
        finally:
            container.listeners.discard(connection)
            feeder.cancel()
            if request.get('stdin') and not container.silent.done:
                once()

    async def on_forward(self, connection, request):
        port = await network.connect(request['port'])
        fd = port.fileno()
        connection.say({'started': True})

        async def from_port():
            while data := await read(fd, DATA_FRAME):
                connection.post(STDOUT, data)
                await connection.drained()
            connection.post(STDOUT)

        async def to_port():
            while frame := await connection.frame():
                if frame[0] != STDIN:
                    continue
                if not frame[1]:
                    return network.end_sending(port)
                await write(fd, frame[1])

        gone = hung_up(connection.fd)
        tasks = [Task(quietly(from_port())), Task(quietly(to_port()))]
        try:
            for task in tasks:
                await first(task, gone)
        finally:
            for task in tasks:
                task.cancel()
            close(port.detach())


async def feed(connection, streams, stdin, end):
    """What a client says to a process, until it leaves."""
    try:
        while frame := await connection.frame():
            channel, payload = frame
            if channel == CONTROL:
                size = decode(payload)['resize']
                streams.resize(size['width'], size['height'])
            elif channel == STDIN and stdin:
                if not payload:
                    end()
                else:
                    await streams.say(payload)
    except (Failure, KeyError, TypeError) as error:
        tell(f'a client talks nonsense: {error}')


async def quietly(coroutine):
    """The other side left, which the one who waits sees by itself."""
    try:
        await coroutine
    except (Gone, OSError):
        pass


def nothing():
    pass
