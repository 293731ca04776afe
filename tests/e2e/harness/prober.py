"""Knocks at ports, all the time, and says who answered: a process of its own.

    prober.py INTERVAL SOURCE,HOST,PROTOCOL,PORT...

One attempt a target each INTERVAL seconds, until SIGTERM. A line for each answer:
TARGET SENT ANSWERED HOW, with the number of the target, CLOCK_MONOTONIC in
seconds, and HOW one of "connected" and "refused": either says that the packet
got in, whether or not someone listens. At the end one line: attempts, and the
longest pause between two of them.
"""

import collections
import errno
import select
import signal
import socket
import struct
import sys
import time

# An answer takes well under a millisecond; a SYN is repeated after a second.
GIVE_UP = 0.6

GOT_IN = {0: "connected", errno.ECONNREFUSED: "refused"}

Attempt = collections.namedtuple("Attempt", "target sent sock")


class Prober:
    def __init__(self, targets):
        self.targets = targets
        self.poller = select.epoll()
        self.waiting = {}  # by file descriptor, oldest first
        self.attempts = 0

    def knock(self, number):
        source, host, protocol, port = self.targets[number]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        # Closing resets, and leaves nothing waiting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
        sent = time.monotonic()
        self.attempts += 1
        code = sock.connect_ex((host, int(port)))
        if protocol == "udp" and code == 0:
            sock.send(b"\0")
        attempt = Attempt(number, sent, sock)
        if protocol == "tcp" and code != errno.EINPROGRESS:
            self.tell(attempt, code)
            sock.close()
            return
        self.waiting[sock.fileno()] = attempt
        # A datagram socket is always writable: only its errors say something.
        self.poller.register(sock, select.EPOLLOUT if protocol == "tcp" else 0)

    def listen(self, until):
        while True:
            left = until - time.monotonic()
            for fd, _ in self.poller.poll(max(left, 0)):
                self.end(fd, answered=True)
            if left <= 0:
                break
        for fd, attempt in list(self.waiting.items()):
            if attempt.sent > until - GIVE_UP:
                break
            self.end(fd, answered=False)

    def end(self, fd, answered):
        attempt = self.waiting.pop(fd)
        if answered:
            self.tell(attempt, attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        attempt.sock.close()

    @staticmethod
    def tell(attempt, code):
        if code in GOT_IN:
            print(attempt.target, f"{attempt.sent:.6f}", f"{time.monotonic():.6f}", GOT_IN[code],
                  flush=True)


def main():
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    interval = float(sys.argv[1])
    prober = Prober([word.split(",") for word in sys.argv[2:]])
    longest, last = 0.0, time.monotonic()
    while not ending:
        started = time.monotonic()
        longest, last = max(longest, started - last), started
        for number in range(len(prober.targets)):
            prober.knock(number)
        prober.listen(started + interval)
    prober.listen(time.monotonic() + GIVE_UP)
    print("end", prober.attempts, f"{longest:.6f}", flush=True)


if __name__ == "__main__":
    main()
