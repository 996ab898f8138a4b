"""Starts and ends the server of the browser app."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import webbrowser
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web
from trame.app import get_server
from trame_server import Server

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.web.actions import Actions
from FewShotSAMLib.web.app import POLL_S, WebApp
from FewShotSAMLib.web.choices import ChoiceActions
from FewShotSAMLib.web.connections import Connections, log_in_one_line
from FewShotSAMLib.web.guard import AS_FILE, DOWNLOAD, Guard, route_of
from FewShotSAMLib.web.model_list import ModelActions
from FewShotSAMLib.web.options import TLS_NOTE, WebOptions
from FewShotSAMLib.web.page import build_page
from FewShotSAMLib.web.security import Gate
from FewShotSAMLib.web.several import TABLE, SeveralActions
from FewShotSAMLib.web.triggers import unexpected

SERVER_NAME = "fewshotsam"
SWEEP_S = 2.0


def serve(options: WebOptions, announce: Callable[[str], None]) -> None:
    """Run until Ctrl-C or a signal to end, and end the background process, too.

    `announce` gets lines for the terminal. Raises BadInputError if the volume or the port cannot be used.
    """
    log_in_one_line()
    with _no_arguments():
        server = get_server(SERVER_NAME, client_type="vue3")
        app = WebApp(server, options.folder, options.python)
        try:
            _prepare(server, app, options)
            _run(server, app, options, announce)
        finally:
            if app.close():
                announce("Work that was not saved is kept. Start the server again to restore it.")


def _prepare(server: Server, app: WebApp, options: WebOptions) -> None:
    for triggers in (Actions(app), ChoiceActions(app), ModelActions(app), SeveralActions(app)):
        triggers.register(server)
    page = build_page(server, app.views)
    server.context.fewshotsam_page = page
    if options.volume is not None:
        app.open(options.volume)
        app.wait_until_open()
    app.session.inspect()  # the background process is ready before it is needed
    guard = Guard(Gate(options.secret), options.host)

    def add_routes(wslink: Any) -> None:
        wslink.app.middlewares.append(guard.middleware())
        server.controller.on_server_ready.add(
            lambda **_: tasks.append(asyncio.create_task(_sweep(wslink, guard.connections)))
        )
        table = route_of(app.several.table, content_type="text/html", charset="utf-8")
        wslink.app.add_routes([web.get(DOWNLOAD, route_of(app.segmentation_file, **AS_FILE)), web.get(TABLE, table)])

    tasks: list[Any] = []  # asyncio itself holds only weak references
    server.controller.on_server_bind.add(add_routes)


async def _sweep(wslink: Any, connections: Connections) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        if wslink.runner is not None and wslink.runner.server is not None:
            connections.sweep(wslink.runner.server.connections)


def _run(server: Server, app: WebApp, options: WebOptions, announce: Callable[[str], None]) -> None:
    tasks = []

    def ready(**_: Any) -> None:
        address = options.address(server.port)
        announce(f"Open {address}")
        if options.is_secret_chosen:
            announce("The page asks for the secret that you chose.")
        if options.is_public:
            announce(TLS_NOTE.format(port=server.port))
        announce("Press Ctrl-C to end the server.")
        tasks.append(asyncio.create_task(_poll(app)))
        if options.open_browser and not options.is_public:
            webbrowser.open(address)

    server.controller.on_server_ready.add(ready)
    try:
        server.start(
            port=options.port,
            host=options.host,
            timeout=0,
            open_browser=False,
            show_connection_info=False,
            disable_logging=True,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"The server cannot listen on {options.host}:{options.port} ({reason})."
        raise BadInputError(text, "Choose another --port; 0 takes any free one.") from error


async def _poll(app: WebApp) -> None:
    while True:
        try:
            app.poll()
        except FewShotSAMError as error:
            app.complain(error)
        except Exception as error:  # one failed step must not end the work; it is reported and logged
            logging.getLogger(__name__).exception("A step of the app failed")
            app.say(unexpected(error))
        await asyncio.sleep(POLL_S)


@contextlib.contextmanager
def _no_arguments() -> Iterator[None]:
    """Hide our command-line arguments from trame, which would parse them itself."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments
