# The client's socket as a WSGI app finds it in its environ. Runs in the engine, once the app has patched what it patches.
import _socket
import socket

# By these an app comes to what the client sends, to what it is sent, or to the descriptor.
USES = frozenset(
    "close detach dup fileno makefile recv recv_into recvfrom recvfrom_into recvmsg recvmsg_into send sendall sendfile "
    "sendmsg sendto setblocking settimeout shutdown".split()
)

# Sockets that no app has used yet, and what has to be told when one does.
untaken = {}


class LentSocket(socket.socket):
    """Takes the connection from the server at its first use, and is a `socket.socket` like any other from then on."""

    __slots__ = ()

    def __getattribute__(self, name):
        if name in USES and self in untaken:
            take(self)
            return getattr(self, name)
        return super().__getattribute__(name)

    def __repr__(self):
        return "<the client's socket>"


def take(lent):
    tell = untaken.get(lent)
    try:
        if tell is not None:
            tell()
    except OSError:
        end(lent)
        raise
    lent.__class__ = socket.socket
    # The server's own way with it is over.
    lent.setblocking(True)
    untaken.pop(lent, None)


def lend(descriptor, tell):
    """Takes the descriptor over, also when it fails."""
    try:
        probe = _socket.socket(fileno=descriptor)
        kind = probe.family, probe.type, probe.proto
        probe.detach()
        lent = LentSocket(*kind, fileno=descriptor)
    except BaseException:
        _socket.close(descriptor)
        raise
    untaken[lent] = tell
    return lent


def end(lent):
    untaken.pop(lent, None)
    lent.close()
