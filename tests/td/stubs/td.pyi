# What mypy knows of TouchDesigner: the names that it gives to every script, as far as td/ uses them.
#
# What `op()` gives depends on the network, and is None if there is no such operator, so operators are Any. The fake in
# `tests.td.fake` is the strict one: it knows the parameters of each type of operator.

from collections.abc import Callable
from typing import Any

class ParMode:
    CONSTANT: ParMode
    EXPRESSION: ParMode
    EXPORT: ParMode
    BIND: ParMode

class Project:
    folder: str
    name: str
    cookRate: float

class App:
    version: str
    build: str
    processId: int
    #: Builds of 2023 and later; look with `getattr`.
    pythonExecutable: str

class AbsTime:
    frame: float
    seconds: float

class Tdu:
    def rand(self, seed: float) -> float: ...

absTime: AbsTime
app: App
ext: Any
me: Any
project: Project
tdu: Tdu

def op(path: str) -> Any: ...
def run(
    script: str | Callable[..., object],
    *args: object,
    endFrame: bool = ...,
    fromOP: Any = ...,
    asParameter: bool = ...,
    group: str | None = ...,
    delayFrames: int = ...,
    delayMilliSeconds: int = ...,
) -> Any: ...
