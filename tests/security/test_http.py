"""Attacks on the HTTP port. Nothing leaks, nothing is done, and the OSC side goes on.

Other computers are addresses of the loopback network: 127.0.0.1 is this computer, 127.0.0.2 is a stranger, 127.0.0.3 is in --allow.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import sys
import time

import psutil
import pytest

from tests.conftest import ELSEWHERE
from tests.web.serving import worker
from worker.client import Client
from worker.protocol import osc
from worker.protocol.messages import Quit, Set
from worker.web.server import MAX_CONNECTIONS_OF_ONE, MAX_HEADER_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason=f"{ELSEWHERE} only Linux has all of 127.0.0.0/8")

TOKEN = "the-secret-of-the-show"
STRANGER, LOOKER, HERE = "127.0.0.2", "127.0.0.3", "127.0.0.1"
SECRET = b"the picture that nobody may see"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "root").mkdir()
    (folder / "secret.png").write_bytes(SECRET)
    options = ("--token", TOKEN, "--allow", f"{LOOKER}/32", "--log-level", "debug")
    with worker(folder / "root", *options, http="0.0.0.0:0") as started:
        yield started


def ask(served, method="GET", path="/", source=HERE, body=None, **headers):
    """One request from an address; the status, the headers and the body of the answer. `_` in the name of a header stands for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", served.http_port, timeout=30, source_address=(source, 0))
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), given)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def jobs(served):
    return json.loads(ask(served, path="/api/jobs.json")[2])


def pings(served, count=50):
    """How many of so many questions over OSC are answered."""

    async def run():
        async with Client(port=served.port) as client:
            for _ in range(count):
                await client.ping()
        return count

    return asyncio.run(run())


JOB = {"operation": "draw_circles", "params": {"output": "drawn{n}.png", "count": 1}}
JSON = "application/json"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9463", "127.0.0.1.evil.example", "", "[::1", "a" * 5000])
def test_rebinding(served, host):
    """A name of the internet that was made to lead here is refused, for everything that there is."""
    for method, path in (("GET", "/"), ("GET", "/api/about"), ("GET", "/api/jobs.json"), ("GET", "/page/app.js"), ("POST", "/api/jobs")):
        status, _, body = ask(served, method, path, Host=host, Content_Type=JSON, body=JOB if method == "POST" else None)
        assert status in (400, 421), (path, status)
        assert b"operations" not in body
    assert jobs(served) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example", "Content_Type": JSON},
        {"Origin": "null", "Content_Type": JSON},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Content_Type": JSON},
        {"Sec_Fetch_Site": "same-site", "Content_Type": JSON},
        {"Content_Type": "text/plain"},  # what a form of another page can send without being asked, by a browser that says nothing of it
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {},
    ],
)
def test_another_page_starts_no_job(served, headers):
    """Whatever another page makes a browser of this computer send, no job comes of it."""
    status, _, _ = ask(served, "POST", "/api/jobs", body=JOB, **headers)
    assert status in (400, 403, 415)
    assert jobs(served) == []
    assert list(served.folder.iterdir()) == []


def test_another_page_cannot_listen(served):
    """A WebSocket of another page is refused."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "eA" * 11 + "=="}
    assert ask(served, path="/api/told", Origin="http://evil.example", **upgrade)[0] == 403
    assert ask(served, path="/api/told", source=STRANGER, **upgrade)[0] == 401


def osc_over_websocket(served, source, packet):
    """The status of the handshake; if it is one, a packet was sent."""
    with socket.create_connection((HERE, served.http_port), 10, (source, 0)) as link:
        head = f"GET / HTTP/1.1\r\nHost: {HERE}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        link.sendall(f"{head}Sec-WebSocket-Key: {'eA' * 11}==\r\n\r\n".encode())
        status = int(link.recv(4096).split()[1])
        if status == 101:
            link.sendall(bytes([0x82, 0x80 | len(packet)]) + bytes(4) + packet)  # masked with zeros
            link.sendall(b"\x88\x80" + bytes(4))
            while link.recv(4096):
                pass
        return status


def test_osc_over_the_websocket(served):
    """Who may send over UDP may send here: not a stranger, but a computer of --allow. Nobody can end the worker from here."""
    assert osc_over_websocket(served, STRANGER, osc.encode(Set("theirs", "operation", "noop"))) == 401
    assert osc_over_websocket(served, LOOKER, osc.encode(Set("ours", "operation", "noop"))) == 101
    assert osc_over_websocket(served, HERE, osc.encode(Quit("wrong"))) == 101
    until = time.monotonic() + 20
    while ask(served, path="/worker/trigger/ours")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert ask(served, path="/worker/trigger/theirs")[0] == 404
    assert json.loads(ask(served, path="/status")[2])["word"] in ("Starting", "Ready")
    assert ask(served, path="/worker", source=STRANGER)[0] == 401
    for path in ("/jobs/a", "/status", "/health", "/metrics"):
        assert ask(served, path=path, source=STRANGER)[0] == 401
        assert ask(served, path=path, source=LOOKER)[0] in (200, 404)
    for path in ("/jobs", "/trigger/ours"):
        assert ask(served, "POST", path, LOOKER, JOB, Content_Type=JSON)[0] == 401
    assert jobs(served) == []


def test_strangers(served):
    """A stranger sees the question for the token and what that needs, and nothing of the worker."""
    status, headers, body = ask(served, source=STRANGER, Accept="text/html")
    assert status == 200
    assert b"Token of this worker" in body
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    for path in ("/api/about", "/api/jobs.json", "/api/jobs.csv", "/api/jobs/1", "/api/jobs/1/out/0"):
        assert ask(served, path=path, source=STRANGER)[0] == 401, path
    assert ask(served, "POST", "/api/jobs", STRANGER, JOB, Content_Type=JSON)[0] == 401
    assert ask(served, path="/api/about", source=STRANGER, Authorization="Bearer wrong")[0] == 401
    assert ask(served, path="/api/about", source=STRANGER, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(served, path=f"/api/about?token={TOKEN}", source=STRANGER)[0] == 401  # it would stand in logs


def test_computers_that_may_look(served):
    """Those of --allow look, and change nothing without the token."""
    assert json.loads(ask(served, path="/api/about", source=LOOKER)[2])["may_write"] is False
    for path in ("/api/jobs", "/api/cancel", "/api/again", "/api/forget", "/api/values", "/api/presets", "/api/press"):
        assert ask(served, "POST", path, LOOKER, {}, Content_Type=JSON)[0] == 401, path
    assert json.loads(ask(served, path="/api/about")[2])["may_write"] is True


def test_login(served):
    """The token becomes a cookie that scripts and other pages do not get, and stands in no line of the log."""
    form = "application/x-www-form-urlencoded"
    assert ask(served, "POST", "/login", STRANGER, b"token=wrong", Content_Type=form)[0] == 401
    status, headers, _ = ask(served, "POST", "/login", STRANGER, f"token={TOKEN}".encode(), Content_Type=form)
    assert status == 303
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert json.loads(ask(served, path="/api/about", source=STRANGER, Cookie=cookie.partition(";")[0])[2])["may_write"] is True
    assert not any(TOKEN in line for line in served.lines)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/page/../server.py",
            "/page/..%2fserver.py",
            "/page/%2e%2e/%2e%2e/secret.png",
            "/page//etc/passwd",
            "/page/vendor/../../server.py",
        ),
        *("/page/..\\server.py", "/page/index.html%00.js", "/api/jobs/1/out/../../../secret.png", "/api/jobs/-1", "/api/jobs/1/out/-1"),
        *(
            "/api/jobs/99999999999999999999",
            "/secret.png",
            "/../secret.png",
            "//evil.example/",
            "/api/jobs/1/in/0?large&path=../secret.png",
        ),
    ],
)
def test_traversal(served, path):
    """Only names that are there can be asked for."""
    status, _, body = ask(served, path=path)
    assert status in (400, 404)
    assert SECRET not in body
    assert b"import" not in body


def test_pictures_outside_the_folders(served):
    """A job that names a file outside fails, and its picture shows nothing of the file."""
    for path in ("../secret.png", str(served.folder.parent / "secret.png"), "/etc/passwd"):
        answer = ask(served, "POST", "/api/jobs", body={"operation": "find_circles", "params": {"image": path}}, Content_Type=JSON)
        assert answer[0] in (202, 403)
    deadline = time.monotonic() + 30
    while any(job["state"] in ("queued", "running") for job in jobs(served)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    asked = 0
    for number in range(1, 4):
        for kind in ("in", "out"):
            status, _, body = ask(served, path=f"/api/jobs/{number}/{kind}/0")
            asked += kind == "in"
            assert status == 404
            assert SECRET not in body
            assert b"root:" not in body
    assert asked == 3
    ask(served, "POST", "/api/forget", body={"all": True}, Content_Type=JSON)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'{"operation": 7}', b'{"operation": "noop", "params": {"a": [1]}}', b"\xff\xfe", b"[" * 100_000),
        *(
            b'{"operation": "noop", "secret": 1}',
            b'{"operation": "' + b"x" * 5000 + b'"}',
            b'{"operation":"noop","params":{"a":"' + b"x" * 99_999 + b'"}}',
        ),
    ],
)
def test_bad_bodies(served, body):
    """What does not fit is a sentence, and nothing else happens."""
    status, _, answer = ask(served, "POST", "/api/jobs", body=body, Content_Type=JSON)
    assert status == 400
    assert json.loads(answer)["error"]


def test_a_body_without_end(served):
    """A body may have a megabyte; of a larger one nothing is read."""
    status, _, _ = ask(served, "POST", "/api/jobs", Content_Type=JSON, Content_Length=str(2**31), body=b"")
    assert status in (400, 413)


def test_headers_without_end(served):
    """The worker takes some kilobytes of headers, then closes, and its memory stays as it is."""
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    with socket.create_connection(("127.0.0.1", served.http_port), timeout=30) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        sent = 0
        try:
            while sent < 2**30:
                link.sendall(b"X-More: " + b"x" * 65_000 + b"\r\n")
                sent += 65_010
        except OSError:
            pass
    assert sent < 64 * 2**20  # what the system's own buffers take
    assert process.memory_info().rss - before < 32 * 2**20
    assert MAX_HEADER_BYTES < 2**17
    assert pings(served) == 50


def test_slow_requests(served):
    """Requests that never come to their end hold no other up: neither this computer's, nor the OSC side."""
    slow = []
    try:
        for _ in range(MAX_CONNECTIONS_OF_ONE):
            link = socket.socket()
            link.bind((LOOKER, 0))
            link.connect(("127.0.0.1", served.http_port))
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.")
            slow.append(link)
        assert ask(served, path="/api/about")[0] == 200
        assert pings(served) == 50
    finally:
        for link in slow:
            link.close()


def test_a_thousand_sockets(served):
    """Of one computer's sockets most are closed at once; then everything is as before."""
    many = []
    try:
        for _ in range(1000):
            link = socket.socket()
            link.bind((STRANGER, 0))
            link.settimeout(10)
            link.connect(("127.0.0.1", served.http_port))
            many.append(link)
        assert pings(served) == 50
        assert ask(served, path="/api/about")[0] == 200
        for link in many:
            link.setblocking(False)
        closed = 0
        deadline = time.monotonic() + 20
        while closed < 1000 - MAX_CONNECTIONS_OF_ONE and time.monotonic() < deadline:
            closed = sum(_is_closed(link) for link in many)
        assert closed >= 1000 - MAX_CONNECTIONS_OF_ONE
    finally:
        for link in many:
            link.close()


def _is_closed(link):
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
