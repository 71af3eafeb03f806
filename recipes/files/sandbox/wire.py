"""Frames and JSON on one connection of the service: src/cri/agent/protocol.ts.

JSON is done by the C half of Python's json package alone: the other half costs 30 ms of every sandbox's start.
"""
import _json
import _struct
import os

from loop import Future, Task, close, read, within, writable

CONTROL, STDIN, STDOUT, STDERR = range(4)
MAXIMUM_FRAME = 16 << 20
DATA_FRAME = 32 << 10
# What is kept for a client that does not read; then whoever sends waits.
BACKLOG = 256 << 10
# A client that reads nothing for this long may be let go by those who cannot wait for it.
PATIENCE = 30


class Failure(Exception):
    """An answer: AgentFailure."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Gone(Exception):
    """The client is."""


class _Context:
    strict, object_hook, object_pairs_hook, memo = True, None, None, {}
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(word):
        raise ValueError(word)


_scan = _json.make_scanner(_Context)
_encode = _json.make_encoder(None, None, _json.encode_basestring, None, ':', ',', False, False, False)


def decode(data):
    """Throws Failure `invalid` for anything that is not one JSON value."""
    try:
        text = data.decode().strip()
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except RecursionError:
        pass
    except Exception:  # the scanner's own errors are in the half that is not here
        pass
    raise Failure('invalid', 'that is not JSON')


def encode(value):
    return ''.join(_encode(value, 0)).encode()


class Connection:
    """Frames from and to one client. What is sent is queued, so that any task may send at any time."""

    def __init__(self, fd):
        self.fd = fd
        self.received = bytearray()
        self.queue = bytearray()
        self.room = None
        self.closed = False

    async def frame(self):
        """The next (channel, payload); None when the client has gone. Throws Failure for what is no frame."""
        while True:
            if len(self.received) >= 5:
                length, channel = _struct.unpack_from('>IB', self.received)
                if length > MAXIMUM_FRAME:
                    raise Failure('invalid', f'a frame of {length} bytes')
                if len(self.received) >= 5 + length:
                    payload = bytes(self.received[5:5 + length])
                    del self.received[:5 + length]
                    return channel, payload
            try:
                data = await read(self.fd, 65536)
            except OSError:
                data = b''
            if not data:
                return None
            self.received += data

    def post(self, channel, payload=b''):
        """Queues a frame; `drained` tells when it is well on its way."""
        if self.closed:
            return
        self.queue += _struct.pack('>IB', len(payload), channel)
        self.queue += payload
        if not self.room:
            self.room = Future()
            Task(self._flush())

    def say(self, value):
        self.post(CONTROL, encode(value))

    async def drained(self, to=BACKLOG):
        """Waits until no more than this is queued. Throws Gone."""
        while len(self.queue) > to and not self.closed:
            await self.room
        if self.closed:
            raise Gone

    async def keeps_up(self):
        """As `drained`; False when the client has not read anything for too long."""
        while len(self.queue) > BACKLOG and not self.closed:
            if not await within(PATIENCE, self.room):
                return False
        return not self.closed

    async def _flush(self):
        """Sends the queue; `room` is told after each piece."""
        try:
            while self.queue and not self.closed:
                try:
                    with memoryview(self.queue) as view:
                        sent = os.write(self.fd, view[:1 << 18])
                except BlockingIOError:
                    await writable(self.fd)
                    continue
                del self.queue[:sent]
                room, self.room = self.room, Future()
                room.set()
        except OSError:
            self.closed = True
        room, self.room = self.room, None
        room.set()

    async def finish(self):
        """Sends what is queued, unless the client does not take it, and closes."""
        while self.queue and not self.closed and await within(PATIENCE, self.room):
            pass
        self.hang_up()

    def hang_up(self):
        if self.fd >= 0:
            close(self.fd)
        self.fd, self.closed = -1, True
        if self.room:
            self.room.set()
