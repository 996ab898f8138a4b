"""Stands before every request, pages and WebSockets alike, and asks the gate; hands out the download."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable

from aiohttp import web

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.web.security import FOREIGN, Gate, Verdict, is_own_host, is_own_origin

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DOWNLOAD = "/segmentation.seg.nrrd"
_COOKIE_AGE_S = 30 * 24 * 3600
_LONGEST_FORM = 4096
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
}
_FORM = """<form method="post" action=""><input type="password" name="token" autofocus aria-label="Secret">
<button>Enter</button></form>"""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>FewShotSAM</title>
<style>body{{background:#0b0d11;color:#e3e7ee;font:15px/1.5 system-ui,sans-serif;display:grid;place-items:center;
height:100vh;margin:0}}main{{max-width:30em;padding:1.5em 2em;background:#14171d;border:1px solid #2a303b;
border-radius:10px}}em{{color:#4da3ff;font-style:normal}}input,button{{font:inherit;padding:.4em .7em;color:inherit;
background:#1e232c;border:1px solid #2a303b;border-radius:6px}}</style>
<main><h1>FewShot<em>SAM</em></h1><p>{text}</p>{form}</main></html>"""


def guard(gate: Gate, bound_to: str) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """The middleware. bound_to: the address that the server listens on."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_own_host(request.host, bound_to):
            return _page(FOREIGN)
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if is_socket:
            return await _socket(request, handler, gate)
        if request.method == "POST":
            return await _form(request, gate)
        verdict = gate.enter(request.query.get("token"), request.cookies)
        if verdict.status != 200:
            return _page(verdict)
        if verdict.new_session or "token" in request.query:  # out of the address, the history and other people's sight
            return _welcome(request, verdict, gate)
        response = await handler(request)
        response.headers.update(_HEADERS)
        return response

    return check


async def _socket(request: web.Request, handler: Handler, gate: Gate) -> web.StreamResponse:
    if not gate.knows(request.cookies):
        return web.Response(status=403, text="Open the page first.")
    if not is_own_origin(request.headers.get("Origin"), request.host):
        return web.Response(status=FOREIGN.status, text=FOREIGN.text)
    return await handler(request)


async def _form(request: web.Request, gate: Gate) -> web.StreamResponse:
    if (request.content_length or 0) > _LONGEST_FORM:
        return _page(Verdict(413, "That is too long."))
    offered = (await request.post()).get("token")
    verdict = gate.enter(offered if isinstance(offered, str) else None, request.cookies)
    return _welcome(request, verdict, gate) if verdict.status == 200 else _page(verdict)


def _welcome(request: web.Request, verdict: Verdict, gate: Gate) -> web.Response:
    response = web.Response(status=303, headers={"Location": "index.html", **_HEADERS})
    if verdict.new_session:
        is_tls = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            gate.cookie, verdict.new_session, max_age=_COOKIE_AGE_S, httponly=True, samesite="Strict", secure=is_tls
        )
    return response


def _page(verdict: Verdict) -> web.Response:
    form = _FORM if verdict.status in (401, 403) and verdict is not FOREIGN else ""
    text = _PAGE.format(text=html.escape(verdict.text), form=form)
    return web.Response(status=verdict.status, text=text, content_type="text/html", headers=_HEADERS)


def download(make: Callable[[], bytes]) -> Handler:
    """The route that hands out the segmentation as a file."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        try:
            body = make()
        except FewShotSAMError as error:
            return web.Response(status=409, text=str(error))
        headers = {"Content-Disposition": 'attachment; filename="segmentation.seg.nrrd"'}
        return web.Response(body=body, content_type="application/octet-stream", headers=headers)

    return answer
