"""The sandbox's own network: what addresses and counters it has, and the routes that a node would have for its pods."""
import _socket
import _struct
import fcntl
import os

from cgroups import read
from loop import close, writable
from wire import Failure

# linux/sockios.h, linux/route.h, linux/if.h
SIOCADDRT, SIOCGIFFLAGS, SIOCGIFADDR = 0x890B, 0x8913, 0x8915
IFF_UP, IFF_LOOPBACK = 1, 8
RTF_UP, RTF_GATEWAY, RTF_HOST = 1, 2, 4
EEXIST, ENETUNREACH, EINPROGRESS = 17, 101, 115


def set_hostname(name):
    if _socket.gethostname() != name:
        _socket.sethostname(name)


def end_sending(connection):
    try:
        connection.shutdown(_socket.SHUT_WR)
    except OSError:
        pass  # the other end has closed altogether


def addresses():
    """Of interfaces that are up, without loopback and link-local ones; eth0's first."""
    found = []
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    for name in sorted(os.listdir('/sys/class/net')):
        request = _struct.pack('16s24x', name.encode())
        try:
            flags, = _struct.unpack_from('H', fcntl.ioctl(probe, SIOCGIFFLAGS, request), 16)
            if flags & IFF_UP and not flags & IFF_LOOPBACK:
                found.append(_socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24]))
        except OSError:
            pass
    probe.close()
    for line in read('/proc/net/if_inet6').splitlines():
        address, _, _, scope, _, name = line.split()
        if scope == '00' and name != 'lo':
            found.append(_socket.inet_ntop(_socket.AF_INET6, bytes.fromhex(address)))
    return found


def add_route(destination, gateway):
    """Both of one family; one that is there already is fine."""
    prefix, _, length = destination.partition('/')
    family = _socket.AF_INET6 if ':' in prefix else _socket.AF_INET
    packed, through = _socket.inet_pton(family, prefix), _socket.inet_pton(family, gateway)
    bits = int(length or len(packed) * 8)
    flags = RTF_UP | RTF_GATEWAY | (RTF_HOST if bits == len(packed) * 8 else 0)
    if family == _socket.AF_INET6:
        # struct in6_rtmsg: destination, source, gateway, type, prefix lengths, metric, info, flags, interface
        request = packed + bytes(16) + through + _struct.pack('=IHHI4xQIi', 0, bits, 0, 1024, 0, flags, 0)
    else:
        # struct rtentry: pad, three addresses, flags, and nothing more that matters here
        mask = (0xFFFFFFFF << (32 - bits) & 0xFFFFFFFF).to_bytes(4, 'big')
        addresses = b''.join(_struct.pack('=HH4s8x', family, 0, one) for one in (packed, through, mask))
        request = bytes(8) + addresses + _struct.pack('=H', flags) + bytes(62)
    with_socket = _socket.socket(family, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(with_socket, SIOCADDRT, request)
    except OSError as error:
        if error.errno != EEXIST:
            raise OSError(error.errno, f'the route {destination} via {gateway}: {error.strerror}') from None
    finally:
        with_socket.close()


def interfaces():
    counted = []
    for line in read('/proc/net/dev').splitlines()[2:]:
        name, _, rest = line.partition(':')
        values = [int(value) for value in rest.split()]
        if name.strip() != 'lo':
            counted.append({'name': name.strip(), 'rxBytes': values[0], 'rxErrors': values[2], 'txBytes': values[8],
                            'txErrors': values[10]})
    return counted


async def connect(port):
    """A connected socket to a port of the loopback, of whichever family somebody listens on. Throws Failure `refused`."""
    reason = 'no address'
    for family, address in (_socket.AF_INET, '127.0.0.1'), (_socket.AF_INET6, '::1'):
        try:
            connection = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
        except OSError:
            continue
        try:
            code = connection.connect_ex((address, port))
            if code == EINPROGRESS:
                await writable(connection.fileno())
                code = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if code == 0:
                return connection
            reason = os.strerror(code)
        except OverflowError:
            raise Failure('invalid', f'{port} is no port') from None
        close(connection.detach())
    raise Failure('refused', f'port {port} of the sandbox: {reason}')
