"""QEMU's machine protocol: commands to the machine's power and what it reports."""

import contextlib
import json
import queue
import socket
import threading


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rw", encoding="utf-8")
        self.stream.readline()  # its greeting
        self.replies, self.events = queue.Queue(), queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.command("qmp_capabilities")

    def _read(self):
        with contextlib.suppress(OSError, ValueError):
            for line in self.stream:
                message = json.loads(line)
                (self.events if "event" in message else self.replies).put(message)

    def command(self, name):
        self.stream.write(json.dumps({"execute": name}) + "\n")
        self.stream.flush()
        reply = self.replies.get(timeout=30)
        if "error" in reply:
            raise AssertionError(f"{name}: {reply['error']['desc']}")
        return reply["return"]

    def wait_event(self, name, timeout):
        """The next event of that name; those before it are dropped."""
        try:
            while self.events.get(timeout=timeout)["event"] != name:
                pass
        except queue.Empty:
            raise AssertionError(f"not within {timeout:g} s: {name}") from None

    def close(self):
        self.socket.close()
