"""How much containers have written into their layers: counted in the background, because a layer may hold a million
files, and not again for each who asks."""
import os
import time

from loop import Task, sleep, within
from mounts import CONTAINERS

# Seconds that a count is good for, and that somebody waits for a new one.
FRESH, WAIT = 10, 1


class Usage:
    def __init__(self):
        self.counted = {}
        self.counting = {}

    async def of(self, name):
        """Bytes and inodes; the last count when a new one takes long."""
        at, result = self.counted.get(name, (0, (0, 0)))
        if at and time.monotonic() - at < FRESH:
            return result
        if name not in self.counting:
            self.counting[name] = Task(self._count(name))
        await within(WAIT, self.counting[name])
        return self.counted.get(name, (0, result))[1]

    def forget(self, name):
        self.counted.pop(name, None)

    async def _count(self, name):
        used = inodes = seen = 0
        folders = [f'{CONTAINERS}/{name}/upper']
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        used += status.st_blocks * 512
                        inodes += 1
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        seen += 1
                        if seen % 200 == 0:
                            await sleep(0.001)
            except OSError:
                # Gone in the meantime, or too deep for a path.
                continue
        del self.counting[name]
        if os.path.isdir(f'{CONTAINERS}/{name}'):
            self.counted[name] = time.monotonic(), (used, inodes)
