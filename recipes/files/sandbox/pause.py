"""The first process of a process namespace that containers share: it takes in their orphans and does nothing else. A copy
of the agent, because a program of its own would be one more package and one more exec."""
import _signal
import os


def start():
    """Answers with its number."""
    own = os.open('/proc/self/ns/pid', os.O_RDONLY | os.O_CLOEXEC)
    os.unshare(os.CLONE_NEWPID)
    try:
        pid = os.fork()
        if pid == 0:
            _pause()
        return pid
    finally:
        # Only children's namespace has changed, and only the next child's was meant to.
        os.setns(own, os.CLONE_NEWPID)
        os.close(own)


def _pause():
    try:
        _signal.set_wakeup_fd(-1)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGCHLD})
        for number in _signal.SIGTERM, _signal.SIGINT:
            _signal.signal(number, _signal.SIG_DFL)
        with open('/proc/self/comm', 'w') as file:
            file.write('pause')
        os.closerange(0, 1 << 20)
        while True:
            _signal.sigwait({_signal.SIGCHLD})
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
    finally:
        os._exit(1)
