"""The node's end of the pipe to the process that works on the data: start, ask, kill."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from flwr.app import RecordDict

from motet.client.home import SiteHome
from motet.errors import WorkerDiedError
from motet.flower.parcels import pack, unpack
from motet.supervise import python_module


class Hand:
    """One worker process, started when it is needed.

    Parameters
    ----------
    home : SiteHome
    """

    def __init__(self, home: SiteHome) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Its process number while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self) -> None:
        """Have a process ready."""
        if self.pid is not None:
            return
        self.kill()
        ours, theirs = Pipe()
        output = (self._home.log.parent / "worker.out").open("ab")
        with output:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                python_module("motet.client.desk", str(self._home.path), str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # No key and no address: what it needs is the data.
                env={k: v for k, v in os.environ.items() if not k.startswith("FLWR_")},
            )
        theirs.close()
        self._channel = ours

    def ask(self, action: str, content: RecordDict) -> None:
        """Hand over a request; the reply is fetched by :meth:`reply`."""
        self.start()
        channel = self._channel
        assert channel is not None
        parts = (json.dumps({"action": action}).encode(), *pack(content))

        def send() -> None:
            # In a thread: a large message fills the pipe until the worker has started up.
            try:
                for part in parts:
                    channel.send_bytes(part)
            except OSError:
                return  # it died: reply() says so

        threading.Thread(target=send, daemon=True).start()

    def reply(self) -> RecordDict | None:
        """The reply, or None while there is none.

        Raises
        ------
        WorkerDiedError
            When the process is gone.
        """
        assert self._channel is not None
        try:
            if self._channel.poll(0):
                return unpack(self._channel.recv_bytes(), self._channel.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerDiedError("The process that works on the data ended.") from error
        if self.pid is None and not self._channel.poll(0):
            raise WorkerDiedError("The process that works on the data ended.")
        return None

    def bells(self) -> list[Connection]:
        """What to wait on for a reply, or for the process's end."""
        return [] if self._channel is None else [self._channel]

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
