"""The two programs beside the agent: mount, and crun with its state below /run."""
import os

from loop import close, ended, expecting, read, spawn
from wire import Failure

BUNDLES = '/run/kina/containers'
CRUN = ('/usr/bin/crun', '--root=/run/kina/crun', '--cgroup-manager=cgroupfs')


async def call(*argv):
    """Runs a program to its end and answers with what it wrote; throws Failure with that when it failed."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    null = os.open('/dev/null', os.O_RDONLY)
    try:
        end = spawn(argv, (null, theirs, theirs))
    finally:
        os.close(theirs)
        os.close(null)
    text = b''
    while data := await read(ours, 65536):
        text += data
    close(ours)
    code = await end
    words = text.decode(errors='replace').strip()
    if code:
        raise Failure('failed', words or f'{argv[0]} ended with {code}')
    return words


async def crun(folder, *arguments, files=()):
    """Runs crun, which hands `files` to the process that it starts and therefore complains into a file of its own."""
    complaints = f'{folder}/complaints'
    code = await spawn((*CRUN, f'--log={complaints}', *arguments), files)
    if code == 0:
        return
    try:
        with open(complaints, errors='replace') as file:
            words = file.read().strip()
        os.unlink(complaints)
    except OSError:
        words = ''
    raise Failure('failed', words or f'crun {arguments[0]} ended with {code}')


async def start_process(folder, *arguments, files=()):
    """As `crun`, for what starts a process: answers with its number and the future of its exit code."""
    numbers = f'{folder}/pid'
    with expecting():
        await crun(folder, *arguments[:1], f'--pid-file={numbers}', *arguments[1:], files=files)
        with open(numbers) as file:
            pid = int(file.read())
        return pid, ended(pid)
