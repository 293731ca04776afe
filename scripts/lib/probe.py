"""The TCP ends of the quickstart: listeners, and what comes knocking.

    probe.py listen READY_FILE PORT...   answers each connection with a line, then ticks
    probe.py connect HOST PORT...        which ports answer: "22 open, rest closed"
    probe.py session HOST PORT           "connected", then how and when it ended, in ms since 1970
    probe.py until-closed HOST PORT END  "LAST_OPEN FIRST_CLOSED", in ms after END (RFC 3339)

and what posternctl's JSON on stdin says:

    probe.py field NAME...               of a grant
    probe.py live                        how many grants, and whose
    probe.py state ID                    of one grant among many
"""

import datetime
import errno
import json
import pathlib
import select
import socket
import struct
import sys
import time

# A connect to a neighbouring namespace takes well under a millisecond; what is
# dropped is not answered at all.
CONNECT_TIMEOUT = 0.3
TICK = 0.02
# A live session hears a tick each TICK; on a busy machine, somewhat later.
SILENCE = 1.0
# How long a session waits for its end.
PATIENCE = 4.0
# Around the end, a connect each this often.
KNOCK = 0.002


def listen(ready_file, *ports):
    listeners = {}
    for port in ports:
        listener = socket.create_server(("", int(port)), backlog=1024)
        listeners[listener.fileno()] = (listener, port)
    pathlib.Path(ready_file).touch()
    clients = []
    while True:
        for fd in select.select(list(listeners), [], [], TICK)[0]:
            listener, port = listeners[fd]
            client = listener.accept()[0]
            client.setblocking(False)
            clients.append(client)
            tell(client, clients, f"port {port} of the VM\n".encode())
        for client in list(clients):
            tell(client, clients, b".\n")


def tell(client, clients, data):
    try:
        client.send(data)
    except OSError:
        clients.remove(client)
        client.close()


def knock(host, port):
    """Starts a connect; its SYN left before this returns."""
    knocking = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # Closing resets, and leaves nothing waiting.
    knocking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    code = knocking.connect_ex((host, int(port)))
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, f"connecting to {host} port {port}")
    return knocking


def answered(knocking):
    """True once the handshake is complete."""
    return bool(select.select([], [knocking], [], 0)[1]) and (
        knocking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0)


def connect(host, *ports):
    deadline = time.monotonic() + CONNECT_TIMEOUT
    knocking = {port: knock(host, port) for port in ports}
    state = {}
    for port, sock in knocking.items():
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            # Blocks until data, refusal or the timeout, whatever the handshake does.
            state[port] = "open" if sock.recv(64) else "silent"
        except socket.timeout:
            state[port] = "silent" if answered(sock) else "closed"
        except OSError as error:
            state[port] = "refused" if error.errno == errno.ECONNREFUSED else error.strerror
    print(summary(state))


def summary(state):
    """{"22": "open", "3389": "closed", ...} as "22 open, rest closed"."""
    groups = {}
    for port, how in state.items():
        groups.setdefault(how, []).append(port)
    if len(groups) == 1:
        return ("all " if len(state) > 1 else "") + next(iter(groups))
    parts = sorted(groups.items(), key=lambda group: len(group[1]))
    return ", ".join([f"{' '.join(ports)} {how}" for how, ports in parts[:-1]]
                     + [f"rest {parts[-1][0]}"])


def session(host, port):
    with socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT) as sock:
        sock.settimeout(SILENCE)
        sock.recv(64)
        print("connected", flush=True)
        print(how_it_ends(sock, time.monotonic() + PATIENCE), round(time.time() * 1000))


def how_it_ends(sock, deadline):
    try:
        while sock.recv(4096):
            if time.monotonic() > deadline:
                return "alive"
    except ConnectionResetError:
        return "reset"
    except socket.timeout:
        return "silent"
    return "ended"


def until_closed(host, port, end):
    end = datetime.datetime.fromisoformat(end).timestamp()
    last_open = None
    unanswered = []  # (before the SYN, after it, socket)
    while time.time() < end + CONNECT_TIMEOUT:
        before = time.time()
        sock = knock(host, port)
        unanswered.append((before, time.time(), sock))
        for entry in [entry for entry in unanswered if answered(entry[2])]:
            unanswered.remove(entry)
            entry[2].close()
            last_open = max(last_open or 0, entry[0])
        time.sleep(KNOCK if before > end - 0.1 else 0.03)
    if last_open is None:
        raise SystemExit("never open")
    first_closed = min((after for before, after, _ in unanswered if before > last_open),
                       default=None)
    if first_closed is None:
        raise SystemExit("still open")
    print(f"{(last_open - end) * 1000:.0f} {(first_closed - end) * 1000:.0f}")


def field(*names):
    grant = json.load(sys.stdin)
    print(*[grant[name] for name in names])


def live():
    grants = json.load(sys.stdin)["grants"]
    sources = sorted({source for grant in grants for source in grant["source_prefixes"]})
    print(f"{len(grants)}, of {' '.join(sources) or 'nobody'}")


def state(grant_id):
    grants = json.load(sys.stdin)["grants"]
    print(*[grant["state"] for grant in grants if grant["id"] == grant_id])


if __name__ == "__main__":
    COMMANDS = {"listen": listen, "connect": connect, "session": session,
                "until-closed": until_closed, "field": field, "live": live, "state": state}
    COMMANDS[sys.argv[1]](*sys.argv[2:])
