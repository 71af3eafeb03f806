"""What a container's first process says and hears: pipes or a terminal on this side, the CRI log and attached clients on
the other.

An attached client that is slow holds up the reading, hence in the end the container, as a full terminal does; but a
client that takes nothing for half a minute is let go, so that a forgotten window cannot stop a service for good.
"""
import _struct
import fcntl
import os
import time

from loop import close, first, readable, sleep, tell, write
from wire import DATA_FRAME, STDERR, STDOUT

# Lines longer than this are cut into pieces, as containerd and kubelet expect.
LINE = 16 << 10
# After the process has ended, a pipe that is silent for this long is held by something that outlives it.
LINGER = 2
NAMES = {STDOUT: b' stdout ', STDERR: b' stderr '}
TIOCSWINSZ = 0x5414


class Log:
    """The CRI log: `TIME stdout|stderr P|F TEXT`. A container does not suffer from a disk that is full: what cannot be
    written is lost, and the sandbox's own log says so."""

    def __init__(self, path):
        self.path = path
        self.fd = self._open() if path else -1
        self.partial = {STDOUT: b'', STDERR: b''}
        self.torn = False
        self.complained = 0

    def _open(self):
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def reopen(self):
        if not self.path:
            return
        fresh = self._open()
        old, self.fd = self.fd, fresh
        os.close(old)

    def add(self, stream, data):
        """Writes the lines that are complete; keeps the rest for what comes."""
        if self.fd < 0:
            return
        text = self.partial[stream] + data
        lines, newline, self.partial[stream] = text.rpartition(b'\n')
        start = stamp() + NAMES[stream]
        if newline:
            full, part = start + b'F ', start + b'P '
            if len(lines) > LINE and max(map(len, lines.split(b'\n'))) > LINE:
                self._write(b''.join(cut(line, full, part) for line in lines.split(b'\n')))
            else:
                self._write(full + lines.replace(b'\n', b'\n' + full) + b'\n')
        if len(self.partial[stream]) > LINE:
            rest = self.partial[stream]
            whole = len(rest) // LINE * LINE
            self._write(cut(rest[:whole], start + b'P ', start + b'P '))
            self.partial[stream] = rest[whole:]

    def end(self, stream):
        """A last line without an end is a part of one."""
        if self.fd >= 0 and self.partial[stream]:
            self._write(stamp() + NAMES[stream] + b'P ' + self.partial[stream] + b'\n')
            self.partial[stream] = b''

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _write(self, data):
        data = b'\n' + data if self.torn else data
        try:
            self.torn = os.write(self.fd, data) < len(data)
            if not self.torn:
                return
            error = 'the disk is full'
        except OSError as failed:
            error = failed.strerror
        if time.monotonic() > self.complained:
            tell(f'output is missing in {self.path}: {error}')
            self.complained = time.monotonic() + 60


def cut(line, full, part):
    pieces = [line[at:at + LINE] for at in range(0, len(line), LINE)] or [b'']
    return b''.join(part + piece + b'\n' for piece in pieces[:-1]) + full + pieces[-1] + b'\n'


_second = (0, b'')


def stamp():
    """RFC 3339 with nanoseconds."""
    global _second
    now = time.time_ns()
    second, rest = divmod(now, 1_000_000_000)
    if second != _second[0]:
        _second = second, time.strftime('%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
    return b'%s%09dZ' % (_second[1], rest)


class Streams:
    """Both ends of a process's descriptors. `theirs` are for the process and closed here once it has them."""

    def __init__(self, terminal, stdin):
        self.theirs = []
        self.input = -1
        self.outputs = {}
        self.terminal = terminal
        if terminal:
            return
        if stdin:
            theirs, self.input = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.input, False)
        else:
            theirs = os.open('/dev/null', os.O_RDONLY)
        self.theirs.append(theirs)
        for channel in STDOUT, STDERR:
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            self.outputs[channel] = ours
            self.theirs.append(theirs)

    def handed_over(self):
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def take_terminal(self, master):
        os.set_blocking(master, False)
        self.input = master
        self.outputs = {STDOUT: master}

    def resize(self, width, height):
        if not self.terminal or self.input < 0:
            return
        fcntl.ioctl(self.input, TIOCSWINSZ, _struct.pack('HHHH', height & 0xffff, width & 0xffff, 0, 0))

    def end_input(self):
        """A terminal has no end of its input but the one that people type."""
        if self.input >= 0 and not self.terminal:
            close(self.input)
            self.input = -1

    async def say(self, data):
        """Writes to the process; False when it does not listen any more."""
        if self.input < 0:
            return False
        try:
            await write(self.input, data)
            return True
        except OSError:
            return False

    async def pump(self, channel, take, ended):
        """Gives `take` all output of this channel, the end (empty) included, which is not waited for forever once the
        process has ended."""
        fd = self.outputs[channel]
        while True:
            try:
                data = os.read(fd, DATA_FRAME)
            except BlockingIOError:
                if not ended.done:
                    await first(readable(fd), ended)
                elif not await silent(fd):
                    continue
                else:
                    break
                continue
            except OSError:
                break
            if not data:
                break
            await take(channel, data)
        await take(channel, b'')

    def close(self):
        self.handed_over()
        for fd in {self.input, *self.outputs.values()}:
            if fd >= 0:
                close(fd)
        self.input, self.outputs = -1, {}


async def silent(fd):
    """Nothing comes for a while."""
    late, more = sleep(LINGER), readable(fd)
    await first(more, late)
    late.set()
    return not more.done
