"""Mounts what container runtimes give their containers, carries connections to port 7000 on to the agent's socket, a
process for each, and becomes the agent."""
import _socket
import os
import select


def carry(one, other):
    ends = {one.fileno(): other.fileno(), other.fileno(): one.fileno()}
    while True:
        for fd in select.select(list(ends), [], [])[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            if not data:
                return
            while data:
                data = data[os.write(ends[fd], data):]


def serve():
    listener = _socket.socket()
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind(('0.0.0.0', 7000))
    listener.listen(64)
    while True:
        fd, _ = listener._accept()
        if os.fork() == 0:
            agent = _socket.socket(_socket.AF_UNIX)
            try:
                agent.connect('/var/lib/kina/socket/agent.sock')
                carry(_socket.socket(fileno=fd), agent)
            finally:
                os._exit(0)  # too early, or over
        os.close(fd)


for kind, place in (('tmpfs', '/dev/shm'), ('mqueue', '/dev/mqueue'), ('devpts', '/dev/pts')):
    os.makedirs(place, exist_ok=True)
    os.waitpid(os.posix_spawn('/usr/bin/mount', ['mount', '-t', kind, kind, place], {}), 0)
if os.fork() == 0:
    serve()
os.execv('/usr/bin/python3', ['/usr/bin/python3', '-ISB', '/usr/lib/kina/agent/main.py'])
