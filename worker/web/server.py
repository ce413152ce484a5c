"""The HTTP server, on Tornado, with a thread and a loop of its own. `worker.web.thread` imports this file in that thread.

What comes from outside is bounded: headers and bodies in size and in time, connections and WebSockets in number, requests by the guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import tornado.httpserver
import tornado.ioloop
import tornado.iostream
import tornado.web

from worker.core.gate import Gate
from worker.web import jobs, oscquery_server, page, remote
from worker.web.handlers import Missing
from worker.web.hub import EVERY_S, Hub

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16 * 2**10
MAX_BODY_BYTES = 2**20
#: How long headers may take, and how long a connection may say nothing between two requests.
HEADERS_WITHIN_S = 10.0
BODY_WITHIN_S = 10.0
#: How many connections there may be, of all other computers and of one. Others cannot take this computer's.
MAX_CONNECTIONS = 256
MAX_CONNECTIONS_OF_ONE = 64

#: What adds routes to the server. Those of the page come first; a new part stands here.
Routes = Callable[[Hub], Sequence[Any]]
PARTS: tuple[Routes, ...] = (page.routes, jobs.routes, remote.routes, oscquery_server.routes)


class Server(tornado.httpserver.HTTPServer):
    """Tornado's server, with a bound on its connections."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """As Tornado does it, in place of `__init__`."""
        super().initialize(*args, **kwargs)
        self.open: Counter[str] = Counter()
        self.refused = 0

    def handle_stream(self, stream: tornado.iostream.IOStream, address: tuple[Any, ...]) -> None:
        """Takes a connection, or closes it at once if there are too many."""
        host = str(address[0])
        others = 0 if Gate.is_this_computer(host) else sum(count for one, count in self.open.items() if not Gate.is_this_computer(one))
        if others >= MAX_CONNECTIONS or self.open[host] >= MAX_CONNECTIONS_OF_ONE:
            self.refused += 1
            stream.close()
            return
        self.open[host] += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """A connection has ended, or has become a WebSocket; of those there is a number of their own."""
        super().on_close(server_conn)
        host = str(server_conn.context.address[0])
        self.open[host] -= 1
        if self.open[host] <= 0:
            del self.open[host]


def application(hub: Hub) -> tornado.web.Application:
    """All routes."""
    routes = [route for part in PARTS for route in part(hub)]
    return tornado.web.Application(
        routes,
        default_handler_class=Missing,
        log_function=_log_request,
        hub=hub,
        websocket_ping_interval=20,
        websocket_ping_timeout=20,
        websocket_max_message_size=64 * 2**10,
        compress_response=False,
    )


def run(hub: Hub, listening: socket.socket, ended: Callable[[Callable[[], None]], None]) -> None:
    """Serves until somebody ends it. Called in the server's thread.

    Args:
        hub: what the handlers share.
        listening: the socket, bound.
        ended: is given what ends the server; to be called from any thread.
    """
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # else every stranger's rubbish would be a line
    loop = asyncio.SelectorEventLoop()  # on Windows the default one cannot watch Tornado's sockets
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(hub, listening, ended))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _serve(hub: Hub, listening: socket.socket, ended: Callable[[Callable[[], None]], None]) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def end() -> None:
        with contextlib.suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(done.set)

    ended(end)
    server = Server(
        application(hub),
        max_header_size=MAX_HEADER_BYTES,
        max_body_size=MAX_BODY_BYTES,
        max_buffer_size=MAX_BODY_BYTES + MAX_HEADER_BYTES,
        idle_connection_timeout=HEADERS_WITHIN_S,
        body_timeout=BODY_WITHIN_S,
    )
    server.add_sockets([listening])

    def take() -> None:
        hub.drain()

    drain = tornado.ioloop.PeriodicCallback(take, EVERY_S * 1000)
    drain.start()
    try:
        await done.wait()
    finally:
        drain.stop()
        server.stop()
        page.close(hub)
        for end in hub.at_end:
            end()
        await asyncio.wait_for(server.close_all_connections(), 1.0)


def _log_request(handler: tornado.web.RequestHandler) -> None:
    """One line for each request that failed by our fault; for others only at level debug. What stands behind the `?` is not logged."""
    status = handler.get_status()
    level = logging.ERROR if status >= 500 else logging.DEBUG
    request = handler.request
    took_ms = (time.monotonic() - handler.started_at) * 1000 if hasattr(handler, "started_at") else 0
    log.log(level, "%s %r of %s: %d, %d ms", request.method, request.path[:200], request.remote_ip, status, took_ms)
