"""Parameters: by known names only, with values, expressions and modes."""

import fnmatch
import functools


class tdError(Exception):
    pass


class tdAttributeError(tdError, AttributeError):
    pass


class ParMode:
    CONSTANT = "CONSTANT"
    EXPRESSION = "EXPRESSION"


CASTS = {"Int": int, "Float": float, "Toggle": bool, "Str": str, "File": str, "Folder": str, "Menu": str, "Pulse": bool, "OP": str}
SETTABLE = {"val", "default", "min", "max", "expr", "mode", "readOnly", "enable", "help", "label", "startSection", "normMin", "normMax"}


class Par:
    """One parameter. Two are equal if their values are, as in the builds of 2025."""

    def __init__(self, owner, name, style, default=None, choices=(), label="", page=None):
        state = self.__dict__
        state.update(owner=owner, name=name, style=style, choices=choices, page=page, label=label or name, help="", readOnly=False)
        state.update(mode=ParMode.CONSTANT, expr="", enable=True, startSection=False, pulses=0)
        state["_val"] = state["default"] = CASTS[style]() if default is None else default

    def __setattr__(self, name, value):
        if name not in SETTABLE:
            raise tdAttributeError(f"Par {self.name} has no member {name}")
        if name == "val":
            self._set(value)
        else:
            self.__dict__[name] = value
            if name == "expr":
                self.__dict__.update(mode=ParMode.EXPRESSION, _code=compile(value, "expr", "eval"))

    @property
    def val(self):
        return self.__dict__["_val"]

    def _set(self, value):
        self.owner.session.check_thread()
        if self.choices and value not in self.choices:
            raise tdError(f"{self.owner.path}: {self.name} has no entry {value!r}")
        if self.style == "OP" and not isinstance(value, str):
            value = "" if value is None else value.path
        before = self.eval() if self.mode == ParMode.EXPRESSION else self.val
        self.__dict__["_val"] = CASTS[self.style](value)
        self.__dict__["mode"] = ParMode.CONSTANT
        if before != self.val:
            self.owner.session.value_changed(self, before)

    def eval(self):
        self.owner.session.check_thread()
        if self.mode == ParMode.EXPRESSION:
            value = eval(self._code, self.owner.session.names(self.owner))
            value = value.eval() if isinstance(value, Par) else value
            return value if self.style == "OP" else CASTS[self.style](value)
        if self.style == "OP":
            return self.owner.near(self.val) if self.val else None
        return self.val

    def pulse(self, *_):
        if self.style != "Pulse":
            raise tdError(f"{self.name} is no pulse")
        self.owner.session.pulsed(self)

    def __eq__(self, other):
        return self.eval() == (other.eval() if isinstance(other, Par) else other)

    def __hash__(self):
        return id(self)

    def __str__(self):
        return str(self.eval())

    def __bool__(self):
        return bool(self.eval())


class ParCollection:
    """`op.par`: unknown names raise, so that typos fail."""

    def __init__(self, owner):
        self.__dict__["_owner"] = owner
        self.__dict__["_pars"] = {}

    def __getattr__(self, name):
        self._owner.session.check_thread()
        try:
            return self._pars[name]
        except KeyError:
            raise tdAttributeError(f"{self._owner.path} has no parameter {name}") from None

    def __setattr__(self, name, value):
        getattr(self, name).val = value

    def __iter__(self):
        return iter(self._pars.values())

    def matching(self, pattern):
        return _matching(tuple(self._pars), pattern)

    def add(self, par):
        self._pars[par.name] = par
        return par

    def drop(self, name):
        del self._pars[name]


class Page:
    """A page of custom parameters. Appending a name again resets its value, as `replace=True` does."""

    def __init__(self, owner, name):
        self.owner = owner
        self.name = name

    def __getattr__(self, name):
        style = name.removeprefix("append")
        if not name.startswith("append") or style not in CASTS:
            raise tdAttributeError(f"Page has no member {name}")
        return lambda par_name, label=None, **_: self._append(style, par_name, label)

    def _append(self, style, name, label):
        if not (name[0].isupper() and name[1:].isalnum() and name[1:] == name[1:].lower()):
            raise tdError(f"{name} is no name for a custom parameter")
        return [self.owner.par.add(Par(self.owner, name, style, label=label or name, page=self))]


@functools.lru_cache(maxsize=64)  # the real one does not do this in Python, and its scripts' time must not be charged with it
def _matching(names, pattern):
    return frozenset(name for name in names if any(fnmatch.fnmatchcase(name, part) for part in pattern.split()))
