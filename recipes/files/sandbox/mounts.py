"""Root file systems: an image's disk through a loop device, a writable layer over it, and mapped owners where a
container has a user namespace."""
import _struct
import fcntl
import os
import stat

from loop import Future, Task, sleep, tell
from programs import call
from wire import Failure

CONTAINERS = '/var/lib/kina/containers'
TRASH = CONTAINERS + '/.trash'
DISKS = '/run/kina/disks'
# linux/loop.h
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_FLAGS_READ_ONLY, LO_FLAGS_AUTOCLEAR = 1, 4
EBUSY = 16

# Path of a disk to [users, future of the folder that it is mounted on].
_disks = {}
_count = 0


async def hold_disk(path):
    """Mounts an image's disk, or joins those who have it already. Answers with the folder; `release_disk` later."""
    global _count
    disk = _disks.get(path)
    if disk:
        disk[0] += 1
        return await disk[1]
    disk = _disks[path] = [1, Future()]
    _count += 1
    folder = f'{DISKS}/{_count}'
    try:
        os.makedirs(folder)
        fd, device = attach(path)
        try:
            await call('/usr/bin/mount', '-t', 'ext4', '-o', 'ro,noatime', device, folder)
        finally:
            os.close(fd)
    except Exception as error:
        del _disks[path]
        failure = error if isinstance(error, Failure) else Failure('failed', f'the disk {path}: {error}')
        disk[1].set(error=failure)
        raise failure from None
    disk[1].set(folder)
    return folder


async def release_disk(path):
    disk = _disks.get(path)
    if not disk:
        return
    disk[0] -= 1
    if disk[0] == 0:
        del _disks[path]
        folder = await disk[1]
        await unmount(folder)
        os.rmdir(folder)


def attach(path):
    """A free loop device with this file, read-only, which frees itself when it is unmounted. Other sandboxes on the same
    kernel look for one at the same time, and `/dev` may be as it was when this one started."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    control = os.open('/dev/loop-control', os.O_RDWR | os.O_CLOEXEC)
    information = _struct.pack('=5Q4I64s64s32s2Q', *[0] * 5, 0, 0, 0, LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
                               path.encode()[-63:], b'', b'', 0, 0)
    try:
        for _ in range(200):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            device = f'/dev/loop{number}'
            if not os.path.exists(device):
                os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(7, number))
            fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, LOOP_CONFIGURE, _struct.pack('=2I', file, 0) + information + bytes(64))
                return fd, device
            except OSError as error:
                os.close(fd)
                if error.errno != EBUSY:
                    raise
        raise OSError(EBUSY, 'no free loop device')
    finally:
        os.close(control)
        os.close(file)


async def unmount(*folders):
    """Also what somebody still has open: it goes when they close it."""
    try:
        await call('/usr/bin/umount', '--lazy', *folders)
    except Failure as failure:
        tell(f'cannot unmount: {failure}')


async def assemble(name, lower, uids, gids):
    """A container's root: `lower` below an empty writable layer. With mappings (OCI: containerID, hostID, size) owners in
    the image are shifted as the container's accounts are, for which no file is copied."""
    base = f'{CONTAINERS}/{name}'
    for folder in base, f'{base}/upper', f'{base}/work', f'{base}/root':
        os.mkdir(folder, 0o711)
    root = os.stat(lower)
    owner = root.st_uid, root.st_gid
    if uids:
        shifted = f'{base}/shifted'
        os.mkdir(shifted)
        ranges = [f'{kind}:{one["containerID"]}:{one["hostID"]}:{one["size"]}'
                  for kind, maps in (('u', uids), ('g', gids)) for one in maps]
        await call('/usr/bin/mount', '--bind', '-o', 'X-mount.idmap=' + ' '.join(ranges), lower, shifted)
        lower = shifted
        root = os.stat(lower)
        owner = root.st_uid, root.st_gid
    # What the container sees of its root folder itself is the writable layer's.
    os.chown(f'{base}/upper', *owner)
    os.chmod(f'{base}/upper', stat.S_IMODE(root.st_mode))
    # volatile: the layer does not outlive the sandbox, so nothing needs to wait for the disk.
    options = f'lowerdir={lower},upperdir={base}/upper,workdir={base}/work,volatile'
    await call('/usr/bin/mount', '-t', 'overlay', '-o', options, 'overlay', f'{base}/root')
    return f'{base}/root'


async def dismantle(name):
    """Unmounts a root, whatever of it is there, and throws its writable layer away."""
    base = f'{CONTAINERS}/{name}'
    mounted = [folder for folder in (f'{base}/root', f'{base}/shifted') if os.path.ismount(folder)]
    if mounted:
        await unmount(*mounted)
    if os.path.isdir(base):
        throw_away(base)


_trash = 0
_emptying = False


def _to_trash(folder):
    global _trash
    _trash += 1
    os.rename(folder, f'{TRASH}/{_trash}')


def throw_away(folder):
    """Removes it later, a little at a time, because it may hold a million files."""
    os.makedirs(TRASH, 0o700, exist_ok=True)
    _to_trash(folder)
    if not _emptying:
        Task(_empty_trash())


async def _empty_trash():
    """Folders in folders are moved to the top first: no path gets long, however deep they are."""
    global _emptying
    _emptying = True
    done = 0
    try:
        while names := os.listdir(TRASH):
            folder = f'{TRASH}/{names[0]}'
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        _to_trash(entry.path)
                    else:
                        os.unlink(entry.path)
                    done += 1
                    if done % 100 == 0:
                        await sleep(0.001)
            os.rmdir(folder)
    except OSError as error:
        tell(f'what containers have left cannot be removed: {error}')
    finally:
        _emptying = False


def inside(root, path):
    """Where `path` is in the image below `root`: its links lead to places in the image, never out of it."""
    parts = [part for part in path.split('/') if part]
    here = []
    links = 0
    while parts:
        part = parts.pop(0)
        if part == '.':
            continue
        if part == '..':
            here = here[:-1]
            continue
        place = '/'.join([root, *here, part])
        if os.path.islink(place):
            links += 1
            if links > 40:
                raise Failure('invalid', f'too many links in {path}')
            target = os.readlink(place)
            here = [] if target.startswith('/') else here
            parts = [one for one in target.split('/') if one] + parts
        else:
            here.append(part)
    place = '/'.join([root, *here])
    if not os.path.lexists(place):
        raise Failure('invalid', f'there is no {path} in the image')
    return place
