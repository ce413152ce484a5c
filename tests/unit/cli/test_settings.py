"""Where the settings of `serve` come from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from click.testing import CliRunner, Result

from worker.cli import cli
from worker.cli import doctor as doctor_module
from worker.cli import health as health_module
from worker.cli import serve as serve_module
from worker.client.client import WorkerSilent
from worker.config import Config, DayTime, HttpPlace, OwnPlace, StreamHost
from worker.files.limits import FileLimits
from worker.protocol.addresses import Network, Peer
from worker.settings import Declared, declared

Serve = Callable[..., Result]


@pytest.fixture
def configs() -> list[Config]:
    """What would have been started."""
    return []


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configs: list[Config]) -> Serve:
    """Calls `serve` in an empty folder, without starting anything."""
    monkeypatch.chdir(tmp_path)

    def start(config: Config) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr(serve_module, "start", start)
    return lambda *arguments, **environment: CliRunner().invoke(cli, ["serve", *map(str, arguments)], env=environment)


def test_defaults(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """Nothing given: loopback, the ports of the contract, and the current folder, which is said."""
    result = serve()
    assert result.exit_code == 0
    assert f"No --root was given, so jobs may read and write in {tmp_path} only." in result.stdout
    (config,) = configs
    assert (config.host, config.port, config.text_port, config.number_port) == ("127.0.0.1", 9460, 9461, 9462)
    assert config.roots == (tmp_path,)
    assert config.report == config.report_numbers == config.maps == ()


def test_all_options_of_the_command_line(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """Repeatable ones keep their order."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b c").mkdir()
    arguments = (
        "--host 0.0.0.0 --allow 10.0.0.0/8 --allow 192.168.0.7 --token 0123456789abcdef --port 0 --report 10.0.0.1:1 --report [::1]:2"
    )
    arguments += " --report-numbers h:3 --map C:/show=/data --workers 3"
    more = ["--root", "a", "--root", "b c", "--queue-jobs", 5, "--timeout-ms", 0, "--text-port", 11, "--number-port", 12, "--no-journal"]
    assert serve(*arguments.split(), *more).exit_code == 0
    (config,) = configs
    assert (config.host, config.port, config.workers, config.text_port, config.number_port) == ("0.0.0.0", 0, 3, 11, 12)
    assert config.allow == (ip_network("10.0.0.0/8"), ip_network("192.168.0.7"))
    assert config.token == "0123456789abcdef"
    assert config.report == (("10.0.0.1", 1), ("::1", 2))
    assert config.report_numbers == (("h", 3),)
    assert config.maps == (("C:/show", "/data"),)
    assert config.roots == (tmp_path / "a", tmp_path / "b c")
    assert (config.limits.queue_jobs, config.limits.timeout_ms) == (5, 0)
    assert config.state is None


def test_other_computers_are_let_in_only_on_purpose(serve: Serve, configs: list[Config]) -> None:
    """An address that others can reach needs --allow or --token; one of this computer needs nothing."""
    result = serve("--host", "0.0.0.0")
    assert result.exit_code == 2
    assert "--allow" in result.output
    assert "--token" in result.output
    for host in ("127.0.0.1", "localhost", "::1"):
        assert serve("--host", host).exit_code == 0
    assert serve("--host", "0.0.0.0", "--token", "long-enough-a-token").exit_code == 0
    assert [config.host for config in configs] == ["127.0.0.1", "localhost", "::1", "0.0.0.0"]


@pytest.mark.parametrize("token", ["8731", "fifteen letters", "x" * 129])
def test_a_token_that_can_be_guessed_is_refused(serve: Serve, configs: list[Config], token: str) -> None:
    """Or one that fits into no hello. The sentence says how long it must be, and gives an example."""
    result = serve("--host", "0.0.0.0", "--token", token)
    assert result.exit_code == 2
    assert not configs
    assert f"The token has {len(token)} characters; a token must have 16 to 128" in " ".join(result.output.replace("│", " ").split())


def test_allow_takes_networks(serve: Serve) -> None:
    """What is none is told in one sentence."""
    result = serve("--host", "0.0.0.0", "--allow", "192.168.0.7/24")
    assert result.exit_code == 2
    assert "is neither an address nor a network" in result.output


def test_environment(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """Lists are separated by a semicolon, so that colons and spaces stay in their paths."""
    (tmp_path / "b c").mkdir()
    environment = {
        "TD_IMAGE_WORKER_PORT": "9470",
        "TD_IMAGE_WORKER_ROOT": f"{tmp_path};{tmp_path / 'b c'}",
        "TD_IMAGE_WORKER_MAP": "C:/my show=/data;D:/x=/x",
        "TD_IMAGE_WORKER_REPORT": "10.0.0.1:1;10.0.0.2:2",
        "TD_IMAGE_WORKER_QUEUE_JOBS": "7",
    }
    assert serve(**environment).exit_code == 0
    (config,) = configs
    assert config.port == 9470
    assert config.roots == (tmp_path, tmp_path / "b c")
    assert config.maps == (("C:/my show", "/data"), ("D:/x", "/x"))
    assert config.report == (("10.0.0.1", 1), ("10.0.0.2", 2))
    assert config.limits.queue_jobs == 7


def test_file_in_the_current_folder(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """It is found by its name; keys are the options' names, with - or _; one value may stand for a list of one."""
    text = 'port = 9470\nqueue-jobs = 8\ntext_port = 5\nreport = "10.0.0.1:1"\nmap = ["C:/show=/data"]\nno-journal = true\n'
    (tmp_path / "td-image-worker.toml").write_text(text)
    result = serve()
    assert result.exit_code == 0, result.output
    assert f"Settings from {tmp_path / 'td-image-worker.toml'}." in result.stdout
    (config,) = configs
    assert (config.port, config.limits.queue_jobs, config.text_port) == (9470, 8, 5)
    assert config.report == (("10.0.0.1", 1),)
    assert config.maps == (("C:/show", "/data"),)
    assert config.state is None


def test_precedence(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """Command line before environment before file before default."""
    (tmp_path / "mine.toml").write_text("port = 1\ntext-port = 1\nnumber-port = 1\n")
    environment = {"TD_IMAGE_WORKER_PORT": "2", "TD_IMAGE_WORKER_TEXT_PORT": "2", "TD_IMAGE_WORKER_CONFIG": "mine.toml"}
    assert serve("--port", 3, **environment).exit_code == 0
    (config,) = configs
    assert (config.port, config.text_port, config.number_port, config.host) == (3, 2, 1, "127.0.0.1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 1", "td-image-worker.toml: there is no setting 'prot'; did you mean root or port?"),
        ("[preset.logo]", "td-image-worker.toml: there is no setting 'preset'; did you mean presets?"),
        ("zzzzzz = 1", "td-image-worker.toml: there is no setting 'zzzzzz'; known are host, port, "),
        ('port = "many"', "td-image-worker.toml: port: 'many' is not a valid"),
        ("port = 70000", "td-image-worker.toml: port: 70000 is not in the range"),
        ("port = true", "td-image-worker.toml: port cannot be true or false."),
        ("port = [1]", "td-image-worker.toml: port cannot be a list."),
        ("[port]", "td-image-worker.toml: port cannot be a table."),
        ('report = ["here"]', "td-image-worker.toml: report: 'here' is not HOST:PORT"),
        ('root = ["nowhere"]', "td-image-worker.toml: root: there is no folder 'nowhere'; make it first."),
        ("port =", "td-image-worker.toml is not valid TOML: "),
        ("port = 1\nport = 2", "The same key stands there twice."),
        ("log-level = 'info'\nlog_level = 'debug'", "log-level and log_level are the same setting; keep one of them."),
        ("PORT = 1", "there is no setting 'PORT'; did you mean port or report?"),
    ],
)
def test_mistakes_in_the_file(serve: Serve, configs: list[Config], tmp_path: Path, text: str, sentence: str) -> None:
    """Each is one sentence that names file and key, and exit code 2."""
    (tmp_path / "td-image-worker.toml").write_text(text)
    result = serve()
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert not configs


@pytest.mark.parametrize(("stored", "typed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_root_in_the_other_unicode_form(serve: Serve, tmp_path: Path, configs: list[Config], stored: str, typed: str) -> None:
    """A keyboard types one character where a Mac has stored a letter and its dots."""
    (tmp_path / normalize(stored, "Läden")).mkdir()
    assert serve("--root", normalize(typed, "Läden")).exit_code == 0
    assert [root.samefile(tmp_path / normalize(stored, "Läden")) for root in configs[0].roots] == [True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--root", "nowhere"], "there is no folder 'nowhere'"),
        (["--root", "C:\\no\\show"], "there is no folder 'C:\\no\\show'"),
        (["--root", "'C:/show'"], "the path 'C:/show' stands in quotes; leave them out."),
        (["--root", __file__], f"{__file__} is a file; name the folder that holds it."),
        (["--map", "C:/show"], "'C:/show' is not SENDER=WORKER"),
        (["--report", "9461"], "'9461' is not HOST:PORT"),
        (["--report", "host:0"], "'host:0' is not HOST:PORT"),
        (["--report", "127.0.0.1:9461:5"], "'127.0.0.1:9461:5' is not HOST:PORT"),
        (["--report", "[::1:9461"], "'[::1:9461' is not HOST:PORT"),
        (["--http", "http://127.0.0.1:9463"], "'http://127.0.0.1:9463' is neither HOST:PORT"),
        (["--root", ""], "it is empty; name a folder, or . for the current one"),
        (["--port", "x"], "'x' is not a valid whole number."),
        (["--remember-hours", "x"], "'x' is not a valid number."),
        (["--host", ""], "--host '' is no address"),
        (["--host", "127.0.0.1:9460"], "The port has an option of its own, --port"),
        (["--text-port", "9460"], "--text-port 9460 is the worker's own port"),
        (["--port", "9462"], "--number-port 9462 is the worker's own port"),
        (["--report", "127.0.0.1:9460"], "--report names the worker's own port 9460"),
        (["--host", "::1", "--report-numbers", "[::1]:9460"], "--report-numbers names the worker's own port 9460"),
        (["--config", "nowhere.toml"], "The settings file nowhere.toml cannot be read"),
        (["--replaec"], "Did you mean"),
    ],
)
def test_mistakes_on_the_command_line(serve: Serve, arguments: list[str], sentence: str) -> None:
    """One sentence and exit code 2."""
    result = serve(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--port", "0", "--text-port", "0"], ["--host", "0.0.0.0", "--allow", "10.0.0.0/8", "--text-port", "9460"]]
)
def test_the_worker_s_port_on_another_computer(serve: Serve, configs: list[Config], arguments: list[str]) -> None:
    """A port is the worker's own on its own computer only."""
    assert serve(*arguments).exit_code == 0
    assert configs


@pytest.mark.parametrize("value", [".;", ";.", ".; ;."])
def test_empty_parts_of_a_variable(serve: Serve, configs: list[Config], monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Many people end a list with its separator."""
    monkeypatch.setenv("TD_IMAGE_WORKER_ROOT", value)
    assert serve().exit_code == 0
    assert set(configs[0].roots) == {Path.cwd()}


def test_lists_in_a_preset(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """Numbers are as those that come over OSC, and a table stays one."""
    file = tmp_path / "w.toml"
    file.write_text('[presets.a]\noperation = "draw_circles"\noutput = "{n}.png"\ncenters = [[1, 2.5], [3, 4]]\n')
    serve("--config", str(file))
    assert ("a", "centers", "1 2.5 3 4") in configs[0].presets
    file.write_text('[presets.a]\noperation = "write_csv"\noutput = "a.csv"\nrows = [["a b", 1], ["c", 2]]\n')
    serve("--config", str(file))
    assert ("a", "rows", '[["a b",1],["c",2]]') in configs[1].presets


@pytest.mark.parametrize("name", ['""', '"a/b"'])
def test_a_preset_that_no_address_names(serve: Serve, tmp_path: Path, name: str) -> None:
    (tmp_path / "w.toml").write_text(f'[presets.{name}]\noperation = "noop"\n')
    result = serve("--config", str(tmp_path / "w.toml"))
    assert result.exit_code == 2
    assert "cannot name a preset" in result.stderr


def test_help_gives_examples() -> None:
    """It is what a person reads first; that it names every option is tested below."""
    result = CliRunner().invoke(cli, ["serve", "--help"])
    assert result.exit_code == 0
    for word in ("--config", "Examples:", "TD_IMAGE_WORKER_", "[default: 9460; 0 to 65535]"):
        assert word in result.stdout


def test_an_unreadable_file(serve: Serve, tmp_path: Path) -> None:
    """A folder in the place of the file, for example."""
    (tmp_path / "folder.toml").mkdir()
    result = serve("--config", "folder.toml")
    assert result.exit_code == 2
    assert "The settings file folder.toml cannot be read" in result.stderr


def test_presets_of_own_operations(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """What is not known yet is taken if there are operations of one's own, and refused if there are none."""
    file = tmp_path / "w.toml"
    (own := tmp_path / "my_ops.py").write_text("")
    file.write_text('[presets.logo]\nradius = 3\noperation = "glow"\n')
    assert "[presets.logo]: There is no operation 'glow'" in serve("--config", str(file)).output
    serve("--config", str(file), "--operations", str(own))
    assert set(configs[-1].presets) == {("logo", "operation", "glow"), ("logo", "radius", 3)}
    assert configs[-1].operations == (str(own.resolve()),)


@pytest.mark.parametrize(
    ("value", "sentence"), [("nothing.py", "there is no file 'nothing.py'"), (".", "'.' is neither a file that ends in .py")]
)
def test_own_operations_that_are_not_there(serve: Serve, value: str, sentence: str) -> None:
    """Before anything is started."""
    assert sentence in serve("--operations", value).output


def test_presets_of_the_file(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """[presets.NAME] tables are there from the start; a bad one is named with its file."""
    file = tmp_path / "td-image-worker.toml"
    file.write_text('[presets.logo]\ncount = 3\noperation = "draw_circles"\n')
    assert serve().exit_code == 0
    assert set(configs[0].presets) == {("logo", "operation", "draw_circles"), ("logo", "count", 3)}
    for text, sentence in (
        ('[presets.logo]\noperation = "draw"\n', "[presets.logo]: There is no operation"),
        ('[presets.logo]\noperation = "draw_circles"\ncount = -1\n', "count must be a whole number from 1"),
        ("presets = 3\n", "presets are tables such as [presets.logo]"),
    ):
        file.write_text(text)
        result = serve()
        assert result.exit_code == 2
        assert sentence in " ".join(result.output.split())


def test_limits_of_files(serve: Serve, configs: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit has an option, a variable and a key; roots to read from, and the log that no job may write."""
    monkeypatch.setattr(serve_module, "begin_logging", lambda *_: None)
    (tmp_path / "library").mkdir()
    (tmp_path / "td-image-worker.toml").write_text("max-rows = 7\nread-root = ['library']\n")
    result = serve("--max-megapixels", 5, "--min-free-mb", 0, "--log-file", "a.log", TD_IMAGE_WORKER_MAX_CHILD_MB="900")
    assert result.exit_code == 0, result.output
    (config,) = configs
    assert (config.files.megapixels, config.files.min_free_mb, config.files.rows, config.files.child_mb) == (5, 0, 7, 900)
    assert config.files.file_mb == FileLimits().file_mb
    assert config.read_roots == (tmp_path / "library",)
    assert config.kept == (tmp_path / "a.log", tmp_path / "a-nights.txt")
    assert serve("--max-megapixels", 0).exit_code == 2


# ------------------------------------------------------------------------------------- one declaration, by every door

SETTINGS = declared(Config)


def sample(one: Declared) -> Any:
    """A value that is allowed and is not the default, as it is written in TOML."""
    if one.choices:
        return next(word for word in one.choices if word != one.default)
    if one.is_flag:
        return True
    if one.type is Path:
        return "here" if one.setting.unit == "DIR" else "here/file"
    if one.type in (int, float):
        return 77 if one.setting.maximum is None else min(77, int(one.setting.maximum))
    if one.name == "token":
        return "sixteen-letters-at-least"
    texts = {
        Peer: "10.0.0.1:7",
        Network: "10.0.0.0/8",
        tuple[str, str]: "C:/x=/y",
        str: "localhost",
        OwnPlace: "my-package",
        StreamHost: "10.0.0.7",
    }
    return {**texts, HttpPlace: "127.0.0.1:8000", DayTime: "23:30"}[one.type]


@pytest.mark.parametrize(("cores", "asked", "children"), [(1, 4, 1), (2, 2, 1), (8, 8, 7), (8, 3, 3)])
def test_a_show_leaves_a_core_free(monkeypatch: pytest.MonkeyPatch, cores: int, asked: int, children: int) -> None:
    monkeypatch.setattr(serve_module.os, "cpu_count", lambda: cores)
    assert serve_module.completed(Config(workers=asked, show=True)).workers == children
    assert serve_module.completed(Config(workers=asked)).workers == asked


def test_a_worker_of_touchdesigner_leaves_a_core_free_if_nobody_says_how_many_children(
    serve: Serve, configs: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside TouchDesigner on two cores a second child made frames late. What was chosen counts, wherever it stands."""
    monkeypatch.setattr(serve_module.os, "cpu_count", lambda: 2)
    serve("--parent-pid", 4)
    serve()
    serve("--parent-pid", 4, "--workers", 2)
    serve("--parent-pid", 4, TD_IMAGE_WORKER_WORKERS="2")
    (tmp_path / "td-image-worker.toml").write_text("workers = 2")
    serve("--parent-pid", 4)
    assert [config.workers for config in configs] == [1, 2, 2, 2, 2]


def reached(config: Config, one: Declared) -> Any:
    """What has become of a setting."""
    value: Any = config
    for name in one.path:
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("one", SETTINGS, ids=lambda one: one.name)
def test_one_declaration_is_enough(
    serve: Serve, configs: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: Declared
) -> None:
    """Option, variable and key of every setting end in the same field with the same value, which is not the default."""
    monkeypatch.setattr(serve_module, "begin_logging", lambda *_: None)
    monkeypatch.delenv(one.variable, raising=False)
    (tmp_path / "here").mkdir()
    value = sample(one)
    assert serve(one.option, *([] if one.is_flag else [value])).exit_code == 0
    assert serve(**{one.variable: str(value)}).exit_code == 0
    (tmp_path / "td-image-worker.toml").write_text(f"{one.key} = {json.dumps(value)}\n")
    assert serve().exit_code == 0
    by_option, by_variable, by_key = (reached(config, one) for config in configs)
    assert by_option == by_variable == by_key != one.default


def test_http(serve: Serve, configs: list[Config]) -> None:
    """The page has a place by default; `off` is nowhere."""
    for value in ("off", "127.0.0.1:0", "[::1]:9000"):
        assert serve("--http", value).exit_code == 0
    assert [config.http for config in configs] == [None, ("127.0.0.1", 0), ("::1", 9000)]
    assert "'9463' is neither HOST:PORT, such as 127.0.0.1:9463, nor off." in serve("--http", "9463").stderr


def test_live_host(serve: Serve, configs: list[Config]) -> None:
    """Computers and networks; what never could fit a stream's address is refused in a sentence, and not kept in vain."""
    rights = ("10.0.0.7", "10.0.0.0/24", "Desk.local", "camera-1", "::1", "fe80::/10")
    assert serve(*(part for right in rights for part in ("--live-host", right))).exit_code == 0
    assert configs[0].live.hosts == ("10.0.0.7", "10.0.0.0/24", "desk.local", "camera-1", "::1", "fe80::/10")
    for wrong in ("rtsp://10.0.0.7/live", "10.0.0.7/24", "10.0.0.7:554", "10.0.0.300", "a b", ""):
        assert f"'{wrong}' is no computer, such as 10.0.0.7 or desk.local" in serve("--live-host", wrong).stderr
    assert len(configs) == 1


def test_night_log(serve: Serve, configs: list[Config]) -> None:
    """At six by default; `off` is never; a time that is none is refused in a sentence."""
    for arguments in ((), ("--night-log", "off"), ("--night-log", "0:00"), ("--night-log", "23:59")):
        assert serve(*arguments).exit_code == 0
    assert [config.log.night for config in configs] == [360, None, 0, 1439]
    for wrong in ("24:00", "6", "06:60", "six"):
        assert f"'{wrong}' is neither a time, such as 06:00, nor off." in serve("--night-log", wrong).stderr


def test_settings_are_said_once() -> None:
    """No option is declared twice, and each has a help and stands in the help of `serve`."""
    assert len({one.option for one in SETTINGS}) == len(SETTINGS) > 30
    text = CliRunner().invoke(cli, ["serve", "--help"]).stdout
    for one in SETTINGS:
        assert re.search(rf"^  {one.option}\b", text, re.MULTILINE), one.option
        assert f"{one.setting.group}:" in text
        assert one.setting.help.endswith(".")


def test_numbers_outside_their_range(serve: Serve) -> None:
    """A bad value is reported by the door through which it came."""
    assert "Invalid value for '--workers': 0 is not in the range 1 to 256." in serve("--workers", 0).stderr
    result = serve(TD_IMAGE_WORKER_WORKERS="many")
    assert result.exit_code == 2
    assert "The environment variable TD_IMAGE_WORKER_WORKERS: 'many' is not a valid" in result.stderr
    assert "--workers" not in result.stderr
    assert "The environment variable TD_IMAGE_WORKER_REPLACE: 'perhaps'" in serve(TD_IMAGE_WORKER_REPLACE="perhaps").stderr


def test_an_unknown_variable(serve: Serve, configs: list[Config]) -> None:
    """It is reported with the near name, and the worker starts."""
    result = serve(TD_IMAGE_WORKER_WROKERS="3", TD_IMAGE_WORKER_XYZ="1", TD_IMAGE_WORKER_PORT="5")
    assert result.exit_code == 0
    assert "TD_IMAGE_WORKER_WROKERS is no setting and does nothing; did you mean TD_IMAGE_WORKER_WORKERS?" in result.stderr
    assert "TD_IMAGE_WORKER_XYZ is no setting and does nothing; `td-image-worker serve --help` lists all settings." in result.stderr
    assert configs[0].port == 5
    assert "VALIDATE" not in serve(TD_IMAGE_WORKER_VALIDATE="1").stderr  # it does something


def test_a_byte_order_mark(serve: Serve, configs: list[Config], tmp_path: Path) -> None:
    """Notepad writes one, and PowerShell; it is no part of the text."""
    (tmp_path / "td-image-worker.toml").write_bytes(b"\xef\xbb\xbfport = 9470\n")
    assert serve().exit_code == 0
    assert configs[0].port == 9470


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("port = 9470\n".encode("utf-16"), "is saved as UTF-16; save it as UTF-8"),
        ("# Größe\nport = 9470\n".encode("latin-1"), "is not UTF-8 text (byte 4); save it as UTF-8"),
        (b'root = ["C:\\show"]', "In TOML a back-slash between double quotes begins an escape"),
        (b'map = ["C:\\Users\\me=/data"]', "In TOML a back-slash between double quotes begins an escape"),
        (b'root = ["D:\\new"]', "In TOML a back-slash between double quotes begins an escape"),
        (b'log-file = "D:\\temp\\worker.log"', "In TOML a back-slash between double quotes begins an escape"),
        (b'[presets.x]\noperation = "convert"\noutput = "D:\\to"', "[presets.x] output is"),
        (b'[presets.x]\noperaton = "noop"', "[presets.x] has no operation; did you mean that by 'operaton'?"),
        (b"[presets.x]\ncount = 3", "[presets.x] has no operation."),
        (b'[presets.x]\noperation = "draw_circles"\nradus = 3', "did you mean radius?"),
        (b"[presets]\nx = 3", "presets are tables such as [presets.logo]"),
    ],
)
def test_what_editors_and_windows_do_to_a_file(serve: Serve, configs: list[Config], tmp_path: Path, data: bytes, sentence: str) -> None:
    """Each ends in a sentence that says what to write instead."""
    (tmp_path / "td-image-worker.toml").write_bytes(data)
    result = serve()
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not configs


# --------------------------------------------------------------------------------------------------- all commands alike


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """Where commands that talk to a worker look for it; there is a settings file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "td-image-worker.toml").write_text(
        'host = "0.0.0.0"\nport = 9470\ntoken = "secret"\nqueue-jobs = 7\nlog-file = "gone/x"\ntext-port = 9\n'
    )
    found: list[tuple[str, int, str]] = []

    class Listening:
        def __init__(self, host: str, port: int, _name: str = "", token: str = "") -> None:
            found.append((host, port, token))
            raise WorkerSilent("silent")

    def check(host: str, port: int, token: str, **_: float) -> health_module.Verdict:
        found.append((host, port, token))
        return health_module.Verdict(True, "well")

    def examine(question: doctor_module.Question) -> list[doctor_module.Step]:
        found.append((question.config.host, question.config.port, question.config.token))
        assert question.config.text_port == 9
        return []

    monkeypatch.setattr("worker.client.client.Client", Listening)
    monkeypatch.setattr(health_module, "check", check)
    monkeypatch.setattr(doctor_module, "examine", examine)
    return found


@pytest.mark.parametrize("command", [["send", "noop"], ["presets"], ["presets", "trigger", "x"], ["health"], ["doctor"]])
def test_every_command_reads_the_same_file_and_environment(asked: list[tuple[str, int, str]], command: list[str]) -> None:
    """What `serve` in this folder listens on is what the others ask; what only `serve` needs is not looked at."""
    runner = CliRunner()
    runner.invoke(cli, command)
    runner.invoke(cli, command, env={"TD_IMAGE_WORKER_PORT": "9480"})
    runner.invoke(cli, [command[0], "--port", "9490", *command[1:]], env={"TD_IMAGE_WORKER_PORT": "9480"})
    assert asked == [("0.0.0.0", port, "secret") for port in (9470, 9480, 9490)]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("command", [["send", "noop"], ["presets"], ["health"]])
def test_every_command_says_what_is_wrong_with_the_file(tmp_path: Path, command: list[str]) -> None:
    """Not only `serve`."""
    (tmp_path / "td-image-worker.toml").write_text("prot = 9470\n")
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "there is no setting 'prot'" in result.stderr
