"""Who may use the server: one browser that has shown the secret. Independent of the web framework."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TOKEN_BYTES = 32
SHORTEST_SECRET = 12
"""Fewest characters of a secret that the user chooses: anybody who can reach the port may guess."""
GUESSES = 10
"""Wrong secrets in a row after which further wrong ones are only told that there were too many."""
PAUSE_S = 30.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def new_token() -> str:
    """A secret that cannot be guessed and can be part of an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True)
class GateDecision:
    """The answer. status: 200 to go on, otherwise the HTTP status; new_session: cookie value to set, "" for none."""

    status: int
    text: str = ""
    new_session: str = ""


ASK = GateDecision(401, "Enter the secret of the server: your own, or the one in the address that the terminal shows.")
WRONG = GateDecision(403, "That is not the secret of this server.")
FOREIGN = GateDecision(403, "Another web page tried to use this server. The request was refused.")
TAKEN = GateDecision(
    409,
    "Another browser is using this server. You can take over its work, which the server holds, and continue here. "
    "The other browser is then shut out.",
)
PAUSED = GateDecision(429, "Too many wrong secrets were tried. The right one still works.")
WELCOME = GateDecision(200)


@dataclass
class Gate:
    """Lets in the first browser that knows the secret, and recognises it by its cookie; all others are refused.

    The work is held by the server, so this browser may reload, lose its connection and come back at any time; and
    whoever knows the secret may take over the work in another browser. The right secret is always let in, whatever
    others try; guessing is hopeless because of its length and the delay before a wrong one is answered.
    """

    secret: str
    clock: Callable[[], float] = time.monotonic
    cookie: str = field(default_factory=lambda: f"fewshotsam-{secrets.token_hex(4)}")
    _session: str = ""
    _wrong: int = 0
    _paused_until: float = 0.0

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Whether these are the cookies of the browser that was let in."""
        shown = cookies.get(self.cookie, "")
        return bool(self._session) and _is_same(shown, self._session)

    def enter(self, offered: str | None, cookies: Mapping[str, str], takes_over: bool = False) -> GateDecision:
        """Judge a request for a page: `offered` is the secret in its address or form, None if there is none.

        takes_over: the user was asked and agreed to shut out another browser.
        """
        if self.knows(cookies):
            return WELCOME
        if offered is None:
            return ASK
        if not _is_same(offered, self.secret):
            return self._refuse()
        self._wrong = 0
        if self._session and not takes_over:
            return TAKEN
        self._session = new_token()
        return GateDecision(200, "", self._session)

    def _refuse(self) -> GateDecision:
        if self.clock() < self._paused_until:
            return PAUSED
        self._wrong += 1
        if self._wrong >= GUESSES:
            self._wrong, self._paused_until = 0, self.clock() + PAUSE_S
        return WRONG


def is_own_origin(origin: str | None, host: str) -> bool:
    """Whether a request came from a page of this server itself.

    Browsers send the origin with every WebSocket; cookies are sent with those of other pages on the same host, too.
    """
    try:
        return origin is not None and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # raised for an unclosed bracket
        return False


def is_own_host(host: str, bound_to: str) -> bool:
    """Whether the Host header fits a server for this computer only; any other name may be an attacker's.

    A server that can be reached from outside may have many names, so it accepts every one.
    """
    if bound_to not in LOOPBACK:
        return True
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.strip("[]").lower() in LOOPBACK


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(*(text.encode("utf-8", "backslashreplace") for text in (one, other)))


def is_cross_site(headers: Mapping[str, str], host: str) -> bool:
    """Whether another web page made the browser send this: it is not the user's guess, and must learn nothing."""
    site, origin = headers.get("Sec-Fetch-Site", ""), headers.get("Origin", "null")
    if site:
        is_click = headers.get("Sec-Fetch-Mode", "") == "navigate" and headers.get("Sec-Fetch-User", "") == "?1"
        return site in ("cross-site", "same-site") and not is_click
    return origin != "null" and not is_own_origin(origin, host)  # pages without a referrer have the origin “null”
