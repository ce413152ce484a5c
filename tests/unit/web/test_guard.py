import ipaddress

import pytest

from worker.web.guard import MAX_HOSTS, REQUESTS_BURST, Access, Asked, Guard, Refused

TOKEN = "the-secret-of-the-show"
HERE = {"host": "127.0.0.1:9463"}


def guard(token=TOKEN):
    """One that knows a network and a token."""
    return Guard([ipaddress.ip_network("10.0.0.0/24")], token, names=("show-pc",))


def asked(ip="127.0.0.1", method="GET", cookie="", **headers):
    return Asked(method, ip, {**HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}, cookie)


@pytest.mark.parametrize(
    ("request_", "may"),
    [
        (asked(), Access.WRITE),
        (asked("::1", host="[::1]:9463"), Access.WRITE),
        (asked("10.0.0.7"), Access.READ),
        (asked("10.0.1.7"), Access.NOTHING),
        (asked("10.0.1.7", authorization=f"Bearer {TOKEN}"), Access.WRITE),
        (asked(host="localhost:9463", origin="http://localhost:9463"), Access.WRITE),
        (asked(host="Show-PC:9463"), Access.WRITE),
        (asked(host="show-pc.local"), Access.WRITE),
        (asked(sec_fetch_site="cross-site", sec_fetch_mode="navigate"), Access.WRITE),
    ],
)
def test_access(request_, may):
    """This computer and the token may do everything, the computers of --allow may look, others nothing."""
    assert guard().access(request_, 0.0) is may


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (asked(host="evil.example:9463"), 421),  # its name was made to lead here
        (asked(host=""), 421),
        (asked(host="127.0.0.1.evil.example"), 421),
        (asked(origin="http://evil.example"), 403),
        (asked(origin="null"), 403),
        (asked(origin="http://127.0.0.1:9464"), 403),  # another program of this computer
        (asked(sec_fetch_site="cross-site", sec_fetch_mode="no-cors"), 403),
        (asked(method="POST", sec_fetch_site="cross-site", sec_fetch_mode="navigate"), 403),
        (asked(authorization="Bearer wrong"), 401),
    ],
)
def test_refused(request_, status):
    """What another page asks for is refused, even on this computer; so is a wrong token."""
    found = guard().access(request_, 0.0)
    assert isinstance(found, Refused)
    assert found.status == status


@pytest.mark.parametrize("host", ["127.0.0.1:9463", "localhost:9463", "localhost:8080", "192.168.0.5:9463"])
def test_published_port(host):
    """Through the published port of a container a browser comes from the gateway, with the name and the port that it knows outside."""
    one = Guard([ipaddress.ip_network("172.17.0.1/32")], "", names=("3f9c1d2e4b5a", "0.0.0.0"))
    assert one.access(asked("172.17.0.1", host=host, origin=f"http://{host}", sec_fetch_site="same-origin"), 0.0) is Access.READ
    assert one.access(asked("172.17.0.2", host=host), 0.0) is Access.NOTHING  # another container
    for rebound in ("evil.example:9463", "localhost.evil.example"):
        found = one.access(asked("172.17.0.1", host=rebound, origin=f"http://{rebound}", sec_fetch_site="same-origin"), 0.0)
        assert isinstance(found, Refused)
        assert found.status == 421
    found = one.access(asked("172.17.0.1", host=host, origin="http://evil.example"), 0.0)
    assert isinstance(found, Refused)
    assert found.status == 403


def test_session():
    """A browser brings the token once, and then a cookie, until it logs out."""
    one = guard()
    assert one.log_in("10.0.1.7", "wrong", 0.0) == ""
    session = one.log_in("10.0.1.7", TOKEN, 0.0)
    assert TOKEN not in session
    assert one.access(asked("10.0.1.7", cookie=session), 1.0) is Access.WRITE
    one.log_out(session)
    assert one.access(asked("10.0.1.7", cookie=session), 2.0) is Access.NOTHING


def test_guessing():
    """After many wrong tokens not even the right one is heard for a second. Somebody else, who has it, notices nothing."""
    one = guard()
    for _ in range(30):
        one.log_in("10.0.1.7", "guess", 0.0)
    assert one.log_in("10.0.1.7", TOKEN, 0.5) == ""
    assert one.access(asked("10.0.1.8", authorization=f"Bearer {TOKEN}"), 0.5) is Access.WRITE
    assert one.log_in("10.0.1.7", TOKEN, 1.5)


def test_computers_that_guess_are_bounded():
    """The newest are known."""
    one = guard()
    for n in range(MAX_HOSTS + 10):
        one.log_in(f"10.1.{n // 256}.{n % 256}", "guess", 0.0)
    assert len(one._guesses) == MAX_HOSTS


def test_no_token():
    """Without --token nobody can log in, not even with an empty one."""
    assert guard("").log_in("10.0.1.7", "", 0.0) == ""
    assert guard("").access(asked("10.0.1.7"), 0.0) is Access.NOTHING


def test_rate():
    """One computer that asks too much is refused; others are not."""
    one = guard()
    answers = [one.access(asked(), 0.0) for _ in range(REQUESTS_BURST + 1)]
    assert isinstance(answers[-1], Refused)
    assert answers[-2] is Access.WRITE
    assert one.access(asked("10.0.0.7"), 0.0) is Access.READ
