"""A broker within the program, so that a stream can be tried without one: amqtt, on this computer alone."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from puji.errors import Invalid

HOST = "127.0.0.1"


def free_port() -> int:
    """A port of this computer that nobody listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


class Embedded:
    """A broker of MQTT 3.1.1 in a thread; it listens on the loopback interface only, and knows no passwords.

    Sessions live in memory: what it has not delivered is gone when it ends. Raises Invalid if amqtt is not installed or the
    port is taken.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self._broker: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="puji-broker")

    def start(self) -> Embedded:
        """Start, and wait until it listens."""
        try:
            import amqtt.broker  # noqa: F401
        except ImportError as error:
            raise Invalid("streams.extra") from error
        self._thread.start()
        self._started.wait(20)
        if self._failed is not None or not self._started.is_set():
            raise Invalid("streams.no_broker", source=f"{HOST}:{self.port}") from self._failed
        return self

    def stop(self) -> None:
        """Close all connections and end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def __enter__(self) -> Embedded:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        from amqtt.broker import Broker

        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        asyncio.set_event_loop(self._loop)
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        try:
            self._broker = Broker(config, loop=self._loop)
            self._loop.run_until_complete(self._broker.start())
        except BaseException as error:
            self._failed = error
            self._started.set()
            return
        self._started.set()
        self._loop.run_forever()
        with suppress(Exception):
            self._loop.run_until_complete(asyncio.wait_for(self._broker.shutdown(), 5))
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()


__all__ = ["HOST", "Embedded", "free_port"]
