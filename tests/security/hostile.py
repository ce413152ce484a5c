"""Paths that want to lead out, or to be no files at all. Each is tried for reading and for writing.

`REFUSED` must be refused for both. `ODD` are plain, if strange, names: there is no such file to read, and what is written under
such a name stays inside. `NO_PATHS` are no paths at all.
"""

from __future__ import annotations

from itertools import product

_TARGETS = ("outside/canary.png", "outside/canary.txt", "etc/passwd", "secret.png")
_UPS = (
    "../",
    "..\\",
    "./../",
    "sub/../../",
    "sub\\..\\..\\",
    "..//",
    "sub//../..//",
    ".././",
    "nowhere/../../",
    "sub/./../../",
    "sub/..\\../",
)

_CLIMBING = [up + target for up, target in product(_UPS, _TARGETS)]
_CLIMBING += ["../" * depth + target for depth, target in product((2, 3, 5, 12, 40), _TARGETS)]
_CLIMBING += ["..\\" * depth + target.replace("/", "\\") for depth, target in product((2, 5, 12), _TARGETS)]

_ABSOLUTE = [
    *("/etc/passwd", "/etc/shadow", "//etc/passwd", "///etc/passwd", "/./etc/passwd", "/etc/../etc/passwd", "\\etc\\passwd", "/etc/x.png"),
    *("/", "//", "/.", "/..", "/tmp/x.png", "/root/x.txt", "/root/.ssh/authorized_keys", "/var/log/x.log", "/home/x.png", "/usr/x.json"),
]

_SYSTEM = [
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/mem", "/dev/tty", "/dev/stdin", "/dev/fd/0", "/dev/full", "/dev/sda", "/dev/x.png"),
    *(
        "/dev/tcp/127.0.0.1/80",
        "/proc/self/mem",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "/proc/self/cwd/x.png",
        "/proc/self/root/etc/passwd",
    ),
    *("/proc/1/root/x.png", "/proc/kcore", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/exe", "/proc/self/maps"),
    *(
        "/sys/kernel/x.txt",
        "/sys/power/state",
        "\\dev\\null",
        "//dev//zero",
        "/proc/self/task/../../self/environ",
        "/proc/thread-self/root/x.png",
    ),
]

_WINDOWS = [
    *("C:/Windows/win.ini", "C:\\Windows\\win.ini", "c:/x.png", "C:\\", "C:/", "D:\\x.png", "Z:/a/b.txt", "C:/../x.png", "C:/./x.png"),
    *("C:\\show\\..\\..\\x.png", "C:/show2/x.png", "\\\\server\\share\\x.png", "//server/share/x.png", "//server/share/../x.png"),
    *("\\\\localhost\\C$\\x.png", "//127.0.0.1/C$/x.png", "//server@80/share/x.png", "//server@SSL/share/x.png", "/\\server\\share\\x.png"),
    *("\\\\?\\C:\\x.png", "//?/C:/x.png", "\\\\?\\UNC\\server\\share\\x.png", "\\\\.\\PhysicalDrive0", "//./PhysicalDrive0", "\\\\.\\COM1"),
    *("\\\\.\\pipe\\x", "//./pipe/x.png", "\\\\?\\GLOBALROOT\\Device\\x.png", "\\??\\C:\\x.png", "\\\\?\\Volume{1}\\x.png", "//?/x.png"),
    *("\\\\.\\C:\\x.png", "//./x.png", "\\\\", "\\\\x", "//x.png", "\\\\?\\..\\x.png", "//wsl$/Ubuntu/x.png", "//wsl.localhost/x/x.txt"),
]

_DEVICES = [
    f"{folder}{name}{ending}"
    for name, (folder, ending) in product(
        ("CON", "NUL", "AUX", "PRN", "COM1", "COM9", "LPT1", "con", "nul", "cOm3", "CONIN$", "CONOUT$", "COM\u00b9", "LPT\u00b3"),
        (("", ".png"), ("", ".txt"), ("sub/", ".a.png"), ("sub\\", " .txt")),
    )
]
_DEVICES += ["NUL", "CON", "AUX.", "nul..txt", "con/x.png", "sub/prn/x.txt", "COM1:", "NUL:", "NUL:.txt", "COM0.png", "LPT0.txt"]

_STREAMS = [
    *(
        "a.txt:s",
        "a.png:s.png",
        "a.txt::$DATA",
        "inside.png::$DATA",
        "inside.png:s:$DATA.png",
        "sub:s/x.png",
        ":x.png",
        "x:.png",
        "::x.txt",
    ),
    *("C:x.png", "c:x.txt", "C:sub/x.png", "sub/C:x.png", "sub/C:/x.png", ".:x.png", "file:///etc/passwd", "file:x.png", "http://x/y.png"),
    *("ftp://x/y.txt", "data:image/png,x.png", "sub::$INDEX_ALLOCATION/x.png", "a:b/../x:y.png", "smb://server/share/x.png"),
]

_TRAILING = ["x.png.", "x.png ", "x.txt...", "x.txt. .", "sub./x.png", "sub /x.png", "sub../x.png", ".../x.png", "..../x.txt", ".. /x.png"]
_TRAILING += ["sub/.../x.png", "x.png./y.png", "inside.png.", "inside.png ", ". /x.png", " /x.png", "x. /y.txt"]

_HOME = ["~/x.png", "~/.ssh/id_rsa", "~root/x.txt", "~", "~\\x.png", "~+/x.txt", "~-/x.png", "~nobody/x.txt", "~/../x.txt"]

#: Below the root stand these links: out -> the folder outside, up -> .., top -> /, and others; see the test.
_LINKS = [
    *("out/canary.png", "out/canary.txt", "out/new.png", "out/new.txt", "out/new/deep/x.txt", "out", "out/", "out/.", "out\\canary.png"),
    *("out/sub/../canary.png", "sub/../out/canary.png", "./out/canary.png", "out//canary.txt", "chain/canary.png", "chain/new.txt"),
    *("up/outside/canary.png", "up/outside/new.txt", "up/x.txt", "up/../x.txt", "top/etc/passwd", "top/x.txt", "top/tmp/x.png"),
    *("leak.png", "leak.txt", "dangling.txt", "dangling.png", "sub/relative/canary.png", "sub/relative/new.txt", "sub/relative/../x.txt"),
    *(
        "self/root/etc/passwd",
        "self/environ",
        "self/fd/0",
        "null.png",
        "zero.png",
        "loop.png",
        "loop/x.png",
        "ring/x.txt",
        "ring",
        "loop.png/x.png",
    ),
    *("twice/canary.png", "twice/x.txt", "in/../../outside/canary.png", "in/../../x.txt"),
    *("C:/show/../outside/canary.png", "c:\\SHOW\\out\\canary.png", "C:/show/up/x.txt", "C:\\show\\..\\x.png", "C:/show/leak.png"),
    *("//share/show/out/x.txt", "\\\\SHARE\\show\\..\\x.png", "//share/other/x.png", "//share/show/../../x.txt"),
]

#: No files with bytes in them.
_SPECIAL = ["pipe.png", "pipe.txt", "socket.png", "socket.txt"]

REFUSED_TO_BOTH = [*_CLIMBING, *_ABSOLUTE, *_SYSTEM, *_WINDOWS, *_DEVICES, *_STREAMS, *_TRAILING, *_HOME, *_LINKS, *_SPECIAL]

PATTERNS = [
    *("../*.png", "..\\*", "../outside/*.png", "out/*.png", "*/canary.png", "o*/c*.png", "up/*/*.png", "top/*", "top/*/*", "/etc/*", "/*"),
    *(
        "/*/*",
        "~/*",
        "/dev/*",
        "/proc/self/*",
        "C:/*",
        "C:\\*.png",
        "//server/*/x.png",
        "\\\\?\\*",
        "**/../../*",
        "*/../../x.png",
        "le*.png",
    ),
    *("self/*", "sub/*/canary.png", "sub/rel*/*.png", "[o]ut/*.png", "?ut/canary.png", "out/**", "**/canary.png", "up/**/*.png", "chain/*"),
    *("/**/*.png", "//?/*", "dangling.*", "**/**/**/**/**/**/**/**/**/**/canary.png", "pipe.*", "C:/show/../*.png", "C:/show/out/*.png"),
]

ODD = [
    *("%2e%2e/x.png", "%2e%2e%2fx.png", "..%2fx.png", "..%5cx.png", "..%c0%afx.png", "..%252fx.png", "%00.png", "x%00.png", "$HOME/x.png"),
    *(
        "${HOME}/x.txt",
        "%USERPROFILE%/x.txt",
        "%TEMP%\\x.png",
        "$(id).txt",
        "`id`.txt",
        "x;id.txt",
        "x|id.png",
        "x&y.txt",
        "-rf.txt",
        "--help.txt",
    ),
    *(
        "\uff0e\uff0e/x.png",
        "..\u2215x.png",
        "..\u2044x.png",
        "..\uff0fx.png",
        "..\uff3cx.png",
        "\u2024\u2024/x.png",
        "x\u200b.png",
        "\u00e9.txt",
    ),
    *(
        "e\u0301.txt",
        "\U0001f4a5.png",
        "'x'.txt",
        '"x".txt',
        "<x>.txt",
        "{n}{name}.txt",
        "{n!r}.txt",
        "{0.__class__}.txt",
        "%s%n.txt",
        "@x.txt",
    ),
    *(
        ".hidden.png",
        "...x.png",
        "..x.png",
        ".part.png",
        "x.png.txt",
        "PROGRA~1.txt",
        "x~1.png",
        "desktop.txt",
        "CONSOLE.png",
        "com.txt",
        "null.txt",
    ),
]

NO_PATHS = [
    *(
        "",
        "\0",
        "a\0.png",
        "inside.png\0.txt",
        "../\0",
        "a\n.png",
        "a\r.txt",
        "\x1b[2Jx.png",
        "a\x7f.png",
        "a\x85.txt",
        "\x9b.png",
        "\u2028.txt",
    ),
    *("gnp.\u202etxt.png", "\u2066x.png", "a\ud800.png", "\udcff.txt", "x" * 256 + ".png", "\u00e9" * 130 + ".txt", "a/" * 2100 + "x.png"),
    *("../" * 2000 + "etc/passwd", "sub/" + "y" * 300, "/" + "z" * 5000, "C:/" + "w" * 260 + "/x.png"),
]
