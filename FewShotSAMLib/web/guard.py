"""Checks every request, for pages and WebSockets alike, at the gate; and serves files made on request."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.web.connections import SILENT_S, Connections
from FewShotSAMLib.web.security import (
    FOREIGN,
    PAUSED,
    TAKEN,
    WRONG,
    Gate,
    GateDecision,
    is_cross_site,
    is_own_host,
    is_own_origin,
)

_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DOWNLOAD = "/segmentation.seg.nrrd"
AS_FILE = {
    "content_type": "application/octet-stream",
    "headers": {"Content-Disposition": 'attachment; filename="segmentation.seg.nrrd"'},
}
_COOKIE_AGE_S = 30 * 24 * 3600
_LONGEST_FORM = 4096
MALFORMED = GateDecision(400, "The server did not understand this request.")
WRONG_S = 1.0
"""How long the answer to a wrong secret is delayed."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
}
_FORM = """<form method="post" action=""><input type="password" name="token" autofocus aria-label="Secret">
<button>Enter</button></form>"""
_TAKE = """<form method="post" action=""><input type="hidden" name="take" value="1">
<input type="hidden" name="token" value="{secret}">
<button id="b_take">Take over</button></form>"""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>FewShotSAM</title>
<style>body{{background:#0b0d11;color:#e3e7ee;font:15px/1.5 system-ui,sans-serif;display:grid;place-items:center;
height:100vh;margin:0}}main{{max-width:30em;padding:1.5em 2em;background:#14171d;border:1px solid #2a303b;
border-radius:10px}}em{{color:#4da3ff;font-style:normal}}input,button{{font:inherit;padding:.4em .7em;color:inherit;
background:#1e232c;border:1px solid #2a303b;border-radius:6px}}</style>
<main><h1>FewShot<em>SAM</em></h1><p>{text}</p>{form}</main></html>"""


class Guard:
    """The middleware. bound_to: the address that the server listens on."""

    def __init__(self, gate: Gate, bound_to: str, connections: Connections | None = None) -> None:
        self._gate, self._bound_to = gate, bound_to
        self.connections = connections or Connections()
        self._sockets: set[asyncio.Task[Any] | None] = set()

    def middleware(self) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
        """The check, in the form that aiohttp expects."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            is_owner = self._gate.knows(request.cookies)
            with self.connections.serving(request.protocol, is_owner) as is_served:
                if not is_served:
                    return web.Response(status=503, text="Too many connections.", headers={"Connection": "close"})
                return await self._answer(request, handler)

        return check

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_own_host(request.host, self._bound_to):
            return _page(FOREIGN)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request, handler)
        is_owner = self._gate.knows(request.cookies)
        if not is_owner and is_cross_site(request.headers, request.host):
            return _page(FOREIGN)
        if request.method == "POST":
            return await self._form(request)
        offered = request.query.get("token")
        decision = self._gate.enter(offered, request.cookies)
        if decision.status != 200:
            return await _refused(decision, offered)
        if decision.new_session or "token" in request.query:  # hides it from the address, the history and other people
            return _welcome(request, decision, self._gate)
        response = await handler(request)
        response.headers.update(_HEADERS)
        return response

    async def _socket(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._gate.knows(request.cookies):
            return web.Response(status=403, text="Open the page first.")
        if not is_own_origin(request.headers.get("Origin"), request.host):
            return web.Response(status=FOREIGN.status, text=FOREIGN.text)
        if not _can_become_socket(request):
            return _malformed(request, "not a WebSocket of a known version")
        task = asyncio.current_task()
        self._sockets.add(task)
        try:
            return await handler(request)
        finally:
            self._sockets.discard(task)

    async def _form(self, request: web.Request) -> web.StreamResponse:
        if (request.content_length or 0) > _LONGEST_FORM:
            return _page(GateDecision(413, "The form is too long."))
        try:
            form = await asyncio.wait_for(request.post(), SILENT_S)
        except web.RequestPayloadError:  # aiohttp logs it
            return _page(MALFORMED)
        except (ValueError, LookupError, AssertionError, TimeoutError):  # raised for a body that is not a form
            return _malformed(request, "not a form")
        offered, takes_over = form.get("token"), form.get("take") == "1"
        offered = offered if isinstance(offered, str) else None
        decision = self._gate.enter(offered, request.cookies, takes_over)
        if decision.status != 200:
            return await _refused(decision, offered)
        if decision.new_session:
            self._shut_out()
        return _welcome(request, decision, self._gate)

    def _shut_out(self) -> None:
        """Close the WebSockets of the browser that was let in before."""
        for task in [each for each in self._sockets if each is not None]:
            task.cancel()


def _can_become_socket(request: web.Request) -> bool:
    try:
        return bool(web.WebSocketResponse().can_prepare(request))
    except ValueError:  # raised for a key that is not ASCII
        return False


def _malformed(request: web.Request, what: str) -> web.Response:
    _log.warning("A request from %s was refused: %s", request.remote, what)
    return _page(MALFORMED)


async def _refused(decision: GateDecision, offered: str | None) -> web.Response:
    if decision in (WRONG, PAUSED):
        await asyncio.sleep(WRONG_S)
    return _page(decision, offered or "")


def _welcome(request: web.Request, decision: GateDecision, gate: Gate) -> web.Response:
    response = web.Response(status=303, headers={"Location": "index.html", **_HEADERS})
    if decision.new_session:
        is_tls = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            gate.cookie, decision.new_session, max_age=_COOKIE_AGE_S, httponly=True, samesite="Strict", secure=is_tls
        )
    return response


def _page(decision: GateDecision, offered: str = "") -> web.Response:
    """offered: the right secret, if another browser may be shut out; this one has just shown that it knows it."""
    form = _FORM if decision.status in (401, 403, 429) and decision is not FOREIGN else ""
    form = _TAKE.format(secret=html.escape(offered)) if decision is TAKEN else form
    text = _PAGE.format(text=html.escape(decision.text), form=form)
    return web.Response(status=decision.status, text=text, content_type="text/html", headers=_HEADERS)


def route_of(make: Callable[[], bytes], **how: Any) -> Handler:
    """A route that serves what `make` returns at each request; how: further arguments of `web.Response`."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        try:
            return web.Response(body=make(), **how)
        except FewShotSAMError as error:
            return web.Response(status=409, text=str(error))

    return answer
