"""The first process of a pod's sandbox: answers the calls of `kina cri` on a Unix socket, and is the parent of all that
is left alone."""
import sys

sys.path.insert(0, '/usr/lib/kina/agent')

import _signal
import _socket
import os

import cgroups
from calls import Calls
from container import RECORDS
from loop import Task, on_signal, readable, run, sleep, tell
from mounts import CONTAINERS, throw_away
from programs import BUNDLES
from wire import Connection

SOCKET = '/var/lib/kina/socket/agent.sock'
# What a sandbox's engine waits at the least before it insists.
GRACE = 3


def listen():
    try:
        os.unlink(SOCKET)
    except FileNotFoundError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    # Bound beside and renamed: whoever sees the socket finds somebody who listens, and root alone may connect.
    before = os.umask(0o177)
    listener.bind(SOCKET + '.new')
    os.umask(before)
    listener.listen(128)
    os.rename(SOCKET + '.new', SOCKET)
    return listener


def prepare():
    os.umask(0o022)
    for folder in BUNDLES, RECORDS, CONTAINERS:
        os.makedirs(folder, 0o711, exist_ok=True)
    # Of an earlier life of this sandbox.
    for name in os.listdir(CONTAINERS):
        if name not in ('.trash', 'lost+found') and os.path.isdir(f'{CONTAINERS}/{name}'):
            throw_away(f'{CONTAINERS}/{name}')
    cgroups.set_up()


async def main():
    calls = Calls()
    stopping = False

    def stop():
        nonlocal stopping
        if not stopping:
            stopping = True
            Task(shut_down())

    async def shut_down():
        await calls.stop_all(GRACE)
        os._exit(0)

    on_signal(_signal.SIGTERM, stop)
    on_signal(_signal.SIGINT, stop)
    prepare()
    listener = listen()
    while True:
        await readable(listener.fileno())
        try:
            while True:
                fd, _ = listener._accept()
                os.set_blocking(fd, False)
                Task(calls.answer(Connection(fd)))
        except BlockingIOError:
            pass
        except OSError as error:
            # Out of descriptors: those who wait in line are served when others have hung up.
            tell(f'cannot take a call: {error.strerror}')
            await sleep(0.1)


run(main())
