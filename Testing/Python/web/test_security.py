"""Who gets in: the first browser that knows the secret, and nobody else."""

import pytest

from FewShotSAMLib.web.security import GUESSES, PAUSE_S, Gate, is_own_host, is_own_origin, new_token


def let_in(gate: Gate) -> dict[str, str]:
    """Enter with the secret; returns the cookies."""
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


def test_a_second_browser_is_refused_even_with_the_secret() -> None:
    gate = Gate("secret-of-ours")
    let_in(gate)
    verdict = gate.enter("secret-of-ours", {})
    assert verdict.status == 409 and not verdict.new_session and "Another browser" in verdict.text
    assert not gate.knows({gate.cookie: "made-up"})


def test_guessing_is_paused() -> None:
    now = [0.0]
    gate = Gate("secret-of-ours", clock=lambda: now[0])
    assert [gate.enter("guess", {}).status for _ in range(GUESSES)] == [403] * GUESSES
    assert gate.enter("secret-of-ours", {}).status == 429
    now[0] = PAUSE_S + 1
    assert gate.enter("secret-of-ours", {}).status == 200


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
