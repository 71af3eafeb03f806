"""One thread, many tasks.

Every call of the service and every stream of a container is a coroutine; this module runs them in turn, each until it
waits for a file descriptor, a time or the end of a process. asyncio does the same, but importing it takes longer than
the sandbox has to start, and as the first process we have to reap strangers' children as well as our own.

Descriptors are non-blocking and belong to the task that opened them; `close` them here, so that nobody waits for a
number that means another file by then.
"""
import _collections
import _signal
import os
import select
import sys
import time


class Cancelled(Exception):
    """Thrown into a task at the place where it waits."""


class Future:
    """A value, or an exception, that will be there later."""
    __slots__ = ('done', 'value', 'error', 'waiting')

    def __init__(self):
        self.done = False
        self.value = self.error = None
        self.waiting = []

    def set(self, value=None, error=None):
        """The first one counts."""
        if self.done:
            return
        self.done, self.value, self.error = True, value, error
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake(self)

    def on_done(self, wake):
        if self.done:
            wake(self)
        else:
            self.waiting.append(wake)

    def __await__(self):
        if not self.done:
            yield self
        if self.error is not None:
            raise self.error
        return self.value


class Task(Future):
    """A running coroutine; its result when it is awaited. An error that nobody awaits goes to the sandbox's log."""
    __slots__ = ('coroutine', 'blocker')

    def __init__(self, coroutine):
        super().__init__()
        self.coroutine = coroutine
        self.blocker = None
        _ready.append((self, None))

    def cancel(self):
        if not self.done:
            self.blocker = None
            _ready.append((self, Cancelled()))

    def _wake(self, blocker):
        if blocker is self.blocker:
            self.blocker = None
            _ready.append((self, None))

    def step(self, thrown):
        if self.done:
            return
        try:
            blocker = self.coroutine.send(None) if thrown is None else self.coroutine.throw(thrown)
        except StopIteration as end:
            self.set(end.value)
        except Cancelled as error:
            self.set(error=error)
        except Exception as error:
            if not self.waiting:
                tell(f'{type(error).__name__}: {error}')
            self.set(error=error)
        else:
            self.blocker = blocker
            blocker.on_done(self._wake)


_ready = _collections.deque()
_timers = []
_poll = select.epoll()
_BROKEN = select.EPOLLHUP | select.EPOLLERR
# What each kind of waiting asks for, and what wakes it: to be readable, to be writable, to be left by the other end.
_ASKED = select.EPOLLIN, select.EPOLLOUT, select.EPOLLRDHUP
_WAKES = select.EPOLLIN | select.EPOLLRDHUP | _BROKEN, select.EPOLLOUT | _BROKEN, select.EPOLLRDHUP | _BROKEN
# Descriptor to futures, one for each kind.
_interest = {}
_children = {}
# Ends of processes whose number is not known yet, while a runtime is at work that will tell it.
_strangers = {}
_expecting = 0
_signals = {}


def tell(words):
    """A line in the sandbox's own log."""
    try:
        os.write(2, f'agent: {words}\n'.encode())
    except OSError:
        pass


def sleep(seconds):
    future = Future()
    _timers.append((time.monotonic() + seconds, future))
    return future


def _wait(fd, kind):
    future = Future()
    known = fd in _interest
    waiting = _interest.setdefault(fd, [None, None, None])
    waiting[kind] = future
    _arm(fd, waiting, known)
    return future


def _arm(fd, waiting, known):
    events = select.EPOLLONESHOT
    for future, asked in zip(waiting, _ASKED):
        if future:
            events |= asked
    (_poll.modify if known else _poll.register)(fd, events)


def readable(fd):
    return _wait(fd, 0)


def writable(fd):
    return _wait(fd, 1)


def hung_up(fd):
    """When the other end of a connection is closed, whether or not somebody reads what it has sent."""
    return _wait(fd, 2)


def close(fd):
    """Whoever waits for it gets EBADF."""
    waiting = _interest.pop(fd, ())
    if waiting:
        _poll.unregister(fd)
    os.close(fd)
    for future in waiting:
        if future:
            future.set(error=OSError(9, 'closed'))


async def read(fd, count):
    """As os.read, when there is something; empty at the end, which for a terminal is an error of its own."""
    while True:
        try:
            return os.read(fd, count)
        except BlockingIOError:
            await readable(fd)
        except OSError as error:
            if error.errno == 5:  # EIO: nobody has the other end of the terminal open
                return b''
            raise


async def write(fd, data):
    """All of it."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view):]
        except BlockingIOError:
            await writable(fd)


async def first(*futures):
    """The first of them that is done; the others go on."""
    some = Future()
    for future in futures:
        future.on_done(some.set)
    try:
        return await some
    finally:
        for future in futures:
            if some.set in future.waiting:
                future.waiting.remove(some.set)


async def within(seconds, future):
    """True when it is done by then."""
    late = sleep(seconds)
    await first(future, late)
    late.set()
    return future.done


def spawn(argv, files=()):
    """Starts a program with these as its descriptors 0, 1, 2; /dev/null where none is given. Answers with the future of
    its exit code, which is asked for before anything else can run: an end that nobody asked for is forgotten."""
    null = os.open('/dev/null', os.O_RDWR)
    given = [*files, *[null] * (3 - len(files))]
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(given)]
    try:
        return ended(os.posix_spawn(argv[0], argv, {'PATH': '/usr/sbin:/usr/bin'}, file_actions=actions,
                                    setsigmask=[], setsigdef=[_signal.SIGPIPE, _signal.SIGXFSZ]))
    finally:
        os.close(null)


def ended(pid):
    """When this child is gone: its exit code, 128 + n after signal n."""
    future = _children.get(pid)
    if future is None:
        future = _children[pid] = Future()
        if pid in _strangers:
            future.set(_strangers.pop(pid))
            del _children[pid]
    return future


class expecting:
    """While this is open, the ends of processes that nobody asked for yet are kept for `ended`."""

    def __enter__(self):
        global _expecting
        _expecting += 1

    def __exit__(self, *_):
        global _expecting
        _expecting -= 1
        if not _expecting:
            _strangers.clear()


def _reap():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        code = code if code >= 0 else 128 - code
        waiting = _children.pop(pid, None)
        if waiting:
            waiting.set(code)
        elif _expecting:
            _strangers[pid] = code


def on_signal(number, handler):
    _signals[number] = handler
    _signal.signal(number, lambda *_: None)


def run(main):
    """Runs tasks until this one is done."""
    inside, outside = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(outside, warn_on_full_buffer=False)
    on_signal(_signal.SIGCHLD, _reap)
    _poll.register(inside, select.EPOLLIN)
    main = Task(main)
    while not main.done:
        while _ready:
            task, thrown = _ready.popleft()
            task.step(thrown)
        now = time.monotonic()
        due = [timer for timer in _timers if timer[0] <= now or timer[1].done]
        for timer in due:
            _timers.remove(timer)
            timer[1].set()
        if _ready:
            continue
        # In whole milliseconds, rounded up: a little early would be once more around for nothing.
        wait = min((when for when, _ in _timers), default=None)
        for fd, events in _poll.poll(None if wait is None else max(0, wait - now) + 0.001):
            if fd == inside:
                _heed(inside)
            elif fd in _interest:
                _deliver(fd, events)
    return main.value


def _deliver(fd, events):
    waiting = _interest[fd]
    for kind, future in enumerate(waiting):
        if future and events & _WAKES[kind]:
            waiting[kind] = None
            future.set()
    if any(waiting):
        _arm(fd, waiting, True)


def _heed(inside):
    try:
        numbers = set(os.read(inside, 4096))
    except BlockingIOError:
        return
    for number in numbers:
        _signals[number]()


if sys.version_info < (3, 12):
    raise SystemExit('the agent needs Python 3.12')
