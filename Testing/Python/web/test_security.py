"""Who gets in: the first browser that knows the secret, and no other."""

import contextlib

import pytest

from FewShotSAMLib.web.connections import MOST_STRANGERS, SILENT_S, Connections
from FewShotSAMLib.web.security import GUESSES, Gate, is_cross_site, is_own_host, is_own_origin, new_token


def let_in(gate: Gate) -> dict[str, str]:
    """Enter with the secret; return the cookies."""
    verdict = gate.enter(gate.secret, {})
    assert verdict.status == 200 and verdict.new_session
    return {gate.cookie: verdict.new_session}


def test_tokens_cannot_be_guessed() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and min(map(len, tokens)) >= 40


@pytest.mark.parametrize("offered", [None, "", "wrong", "secret-of-ours ", "SECRET-OF-OURS", "geheimnis-ü"])
def test_without_the_secret_nobody_enters(offered: str | None) -> None:
    gate = Gate("secret-of-ours")
    verdict = gate.enter(offered, {})
    assert verdict.status in (401, 403) and not verdict.new_session
    assert not gate.knows({}) and not gate.knows({gate.cookie: ""})


def test_the_browser_is_known_again_without_the_secret() -> None:
    gate = Gate("secret-of-ours")
    cookies = let_in(gate)
    assert gate.enter(None, cookies).status == 200 and gate.knows(cookies)
    assert gate.enter("secret-of-ours", cookies).new_session == ""
    assert "secret-of-ours" not in cookies.values()


def test_a_second_browser_enters_only_by_taking_over() -> None:
    gate = Gate("secret-of-ours")
    first = let_in(gate)
    verdict = gate.enter("secret-of-ours", {})
    assert verdict.status == 409 and not verdict.new_session and "Another browser" in verdict.text
    assert gate.enter("guess", {}, takes_over=True).status == 403 and gate.knows(first)
    verdict = gate.enter("secret-of-ours", {}, takes_over=True)
    assert verdict.status == 200 and gate.knows({gate.cookie: verdict.new_session}) and not gate.knows(first)
    assert not gate.knows({gate.cookie: "made-up"})


def test_the_right_secret_enters_whatever_others_try() -> None:
    gate = Gate("secret-of-ours", clock=lambda: 0.0)
    assert [gate.enter("guess", {}).status for _ in range(GUESSES + 2)] == [403] * GUESSES + [429] * 2
    assert gate.enter("secret-of-ours", {}).status == 200


@pytest.mark.parametrize("offered", ["\udc80", "ü" * 10, "a\0b"])
def test_any_text_can_be_offered(offered: str) -> None:
    assert Gate("secret-of-ours").enter(offered, {"x": offered}).status == 403


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, True),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1"}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "http://127.0.0.1:8765"}, False),
    ],
)
def test_what_other_pages_send_is_no_guess(headers: dict[str, str], foreign: bool) -> None:
    assert is_cross_site(headers, "127.0.0.1:8765") is foreign


class Line:
    """A connection."""

    closed = False

    def force_close(self) -> None:
        """Record it."""
        self.closed = True


def test_silent_connections_are_closed_and_the_owner_is_served() -> None:
    now = [0.0]
    connections = Connections(lambda: now[0])
    lines = [Line() for _ in range(MOST_STRANGERS + 20)]
    owner = Line()
    with connections.serving(owner, True) as is_served:
        assert is_served and connections.sweep([*lines, owner]) == 20
        now[0] = SILENT_S + 1
        assert connections.sweep([*lines, owner]) == len(lines) and not owner.closed
        now[0] += 10 * SILENT_S
        connections.sweep([owner])
    assert not owner.closed


def test_strangers_at_once_are_limited_and_the_owner_is_not() -> None:
    connections = Connections()
    with contextlib.ExitStack() as stack:
        served = [stack.enter_context(connections.serving(Line(), False)) for _ in range(MOST_STRANGERS + 5)]
        assert served == [True] * MOST_STRANGERS + [False] * 5
        assert stack.enter_context(connections.serving(Line(), True))


def test_guessing_does_not_lock_out_the_browser_that_is_in() -> None:
    gate = Gate("secret-of-ours", clock=lambda: 0.0)
    cookies = let_in(gate)
    for _ in range(GUESSES + 1):
        gate.enter("guess", {})
    assert gate.enter(None, cookies).status == 200


def test_cookies_of_two_servers_on_one_host_differ() -> None:
    assert Gate("a").cookie != Gate("a").cookie


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765", True),
        ("https://pacs.example", "pacs.example", True),
        ("http://127.0.0.1:9999", "127.0.0.1:8765", False),
        ("http://evil.example", "127.0.0.1:8765", False),
        ("null", "127.0.0.1:8765", False),
        (None, "127.0.0.1:8765", False),
    ],
)
def test_sockets_of_other_pages_are_told_apart(origin: str | None, host: str, own: bool) -> None:
    assert is_own_origin(origin, host) is own


@pytest.mark.parametrize(
    ("host", "bound_to", "own"),
    [
        ("127.0.0.1:8765", "127.0.0.1", True),
        ("localhost:8765", "127.0.0.1", True),
        ("[::1]:8765", "::1", True),
        ("evil.example:8765", "127.0.0.1", False),
        ("gpu.hospital.example", "0.0.0.0", True),
    ],
)
def test_a_local_server_answers_to_local_names_only(host: str, bound_to: str, own: bool) -> None:
    assert is_own_host(host, bound_to) is own
