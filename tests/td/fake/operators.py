"""Operators: components, tables, texts, OSC and CHOPs. What the fact sheet does not list does not exist here."""

import contextlib
import os
import queue
import random
import re
import socket
import struct
import threading
import types

from tests.td.fake import osc, schema
from tests.td.fake.parameters import Page, Par, ParCollection, tdAttributeError, tdError

#: The types to which TouchDesigner docks a callbacks DAT, and what is in it.
DOCKED = {
    "oscinDAT": "def onReceiveOSC(dat, rowIndex, message, bytes, timeStamp, address, args, peer):\n\treturn\n",
    "scriptTOP": "def onSetupParameters(scriptOp):\n\treturn\n\n\ndef onCook(scriptOp):\n\treturn\n",
}
SETTABLE = {"nodeX", "nodeY", "color", "comment", "tags", "viewer", "dock", "text"}


class Operator:
    def __init__(self, session, parent, name):
        state = self.__dict__
        state.update(session=session, _parent=parent, name=name, nodeX=0, nodeY=0, color=(0.5, 0.5, 0.5), comment="", tags=[], viewer=False)
        state.update(dock=None, storage={}, inputConnectors=[], valid=True, problems=[], script_errors=[], par=None, _children={})
        state["par"] = ParCollection(self)
        for par_name, (style, default, *choices) in self.parameters().items():
            self.par.add(Par(self, par_name, style, default, choices[0] if choices else ()))

    def parameters(self):
        return schema.PARAMETERS[self.OPType]

    def __setattr__(self, name, value):
        if name not in SETTABLE and name not in self.__dict__:
            raise tdAttributeError(f"{self.path} has no member {name}")
        object.__setattr__(self, name, value)

    @property
    def OPType(self):
        return type(self).__name__

    @property
    def path(self):
        above = self._parent.path.rstrip("/") if self._parent else ""
        return f"{above}/{self.name}" if self._parent else "/"

    @property
    def docked(self):
        return [other for other in self._parent._children.values() if other.dock is self]

    def parent(self, levels=1):
        self.session.check_thread()
        found = self
        for _ in range(levels):
            found = found._parent
        return found

    def near(self, path):
        """An operator by a path as parameters understand it: relative to the operator's network."""
        return self._parent.op(path) if self._parent else self.op(path)

    def op(self, path):
        self.session.check_thread()
        return self.near(path)

    def destroy(self):
        self.session.check_thread()
        for child in list(self._children.values()):
            child.destroy()
        self.close()
        self.__dict__["valid"] = False
        self._parent._children.pop(self.name, None)

    def close(self):
        pass

    def warnings(self):
        return "\n".join(self.problems)

    def errors(self):
        return "\n".join(self.script_errors)

    def addScriptError(self, message):
        self.session.check_thread()
        self.script_errors.append(str(message))

    def clearScriptErrors(self, recurse=False, error="*"):
        self.session.check_thread()
        self.script_errors.clear()

    def store(self, key, value):
        self.session.check_thread()
        self.storage[key] = value

    def fetch(self, key, default=None, search=True, storeDefault=False):
        found = self
        while found is not None:
            if key in found.storage:
                return found.storage[key]
            found = found._parent if search else None
        return default

    def unstore(self, pattern):
        self.storage.pop(pattern, None)

    def cook_frame(self):
        """One frame."""


# ------------------------------------------------------------------------------------------------------------ components


class _Sequence:
    def __init__(self, comp):
        self.__dict__["comp"] = comp

    @property
    def numBlocks(self):
        return int(hasattr(self.comp.par, "ext0object"))

    @numBlocks.setter
    def numBlocks(self, count):
        for name, (style, default) in schema.NEW_EXTENSION.items():
            if count and not hasattr(self.comp.par, name):
                self.comp.par.add(Par(self.comp, name, style, default))


class _Extensions:
    """`comp.ext`, or the global `ext` of a DAT, which looks upward."""

    def __init__(self, comp, *, upward=False):
        self._comp, self._upward = comp, upward

    def __getattr__(self, name):
        comp = self._comp
        while comp is not None:
            if name in comp.extensions():
                return comp.extensions()[name]
            comp = comp._parent if self._upward else None
        raise tdAttributeError(f"no extension {name}")


class baseCOMP(Operator):
    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(customPages=[], customPars=[], _extension=None, _made=False)
        if session.year >= 2023:
            self.__dict__["seq"] = types.SimpleNamespace(ext=_Sequence(self))

    def parameters(self):
        old_names = self.session.year < 2023
        blocks = self.session.year < 2025  # the newest builds begin without a block
        extension = schema.OLD_EXTENSION if old_names else schema.NEW_EXTENSION if blocks else {}
        return {**schema.PARAMETERS["baseCOMP"], **extension}

    @property
    def children(self):
        return list(self._children.values())

    def create(self, op_type, name, initialize=True):
        self.session.check_thread()
        op_type = op_type if isinstance(op_type, str) else op_type.__name__
        if op_type not in TYPES:
            raise tdError(f"there is no operator type {op_type}")
        made = TYPES[op_type](self.session, self, self._free_name(name))
        self._children[made.name] = made
        if op_type in DOCKED:
            docked = self.create("textDAT", made.name + "_callbacks")
            docked.dock = made
            docked.text = DOCKED[op_type]
            made.par.callbacks = docked.name
        if op_type == "inCHOP":
            self.inputConnectors.append(Connector(made))
        return made

    def _free_name(self, name):
        stem, number = re.sub(r"\d+$", "", name), 1
        while name in self._children:
            name, number = f"{stem}{number}", number + 1
        return name

    def op(self, path):
        self.session.check_thread()
        found = self.session.root if path.startswith("/") else self
        for part in [part for part in path.split("/") if part not in ("", ".")]:
            found = found._parent if part == ".." else found._children.get(part)
            if found is None:
                return None
        return found

    def appendCustomPage(self, name):
        page = Page(self, name)
        self.customPages.append(page)
        return page

    @property
    def inputs(self):
        return [connector.source for connector in self.inputConnectors if connector.source]

    def near(self, path):
        return self.op(path)

    def extensions(self):
        if not self._made:
            self.__dict__["_made"] = True
            self._make_extension()
        return self._extension or {}

    def _make_extension(self):
        names = ("extension1", "extname1", "promoteextension1") if self.session.year < 2023 else ("ext0object", "ext0name", "ext0promote")
        if not hasattr(self.par, names[0]) or not getattr(self.par, names[0]).val:
            return
        code, name, promote = (getattr(self.par, each).val for each in names)
        made = eval(code, self.session.names(self))
        self.__dict__["_extension"] = {name or type(made).__name__: made}
        self.__dict__["_promoted"] = made if promote else None

    def reinitialize(self):
        self.__dict__.update(_made=False, _extension=None)
        self.extensions()

    @property
    def ext(self):
        self.session.check_thread()
        return _Extensions(self)

    def __getattr__(self, name):
        if name[:1].isupper():
            self.extensions()
            promoted = self.__dict__.get("_promoted")
            if promoted is not None and hasattr(promoted, name):
                return getattr(promoted, name)
        raise tdAttributeError(f"{self.name} has no member {name}")


class Connector:
    def __init__(self, owner):
        self.owner = owner
        self.source = None

    @property
    def connections(self):
        return [self.source] if self.source else []

    def connect(self, source):
        self.source = source


# ------------------------------------------------------------------------------------------------------------------ DATs


class Cell:
    def __init__(self, rows, row, column):
        self._rows, self.row, self.col = rows, row, column

    @property
    def val(self):
        return self._rows[self.row][self.col]

    @val.setter
    def val(self, value):
        self._rows[self.row][self.col] = str(value)

    def __str__(self):
        return self.val

    def __eq__(self, other):
        return self.val == str(other)

    __hash__ = None


class _Table(Operator):
    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__["_rows"] = []

    @property
    def numRows(self):
        self.session.check_thread()
        return len(self._rows)

    @property
    def numCols(self):
        return len(self._rows[0]) if self._rows else 0

    @property
    def text(self):
        return "\n".join("\t".join(row) for row in self._rows)

    @text.setter
    def text(self, text):
        self.session.check_thread()
        self.__dict__["_rows"] = [line.split("\t") for line in text.split("\n")] if text else []

    def appendRow(self, values=()):
        self.session.check_thread()
        width = self.numCols or len(values)
        self._rows.append([str(value) for value in [*values, *[""] * width][: max(width, len(values))]])

    def deleteRow(self, row):
        del self._rows[self._row(row)]

    def clear(self, keepFirstRow=False):
        del self._rows[1 if keepFirstRow else 0 :]

    def row(self, row):
        at = self._row(row)
        return None if at is None else [Cell(self._rows, at, column) for column in range(len(self._rows[at]))]

    def _row(self, row):
        if isinstance(row, int):
            return row if -len(self._rows) <= row < len(self._rows) else None
        return next((at for at, cells in enumerate(self._rows) if cells[0] == row), None)

    def _column(self, column):
        if isinstance(column, int):
            return column if column < self.numCols else None
        return self._rows[0].index(column) if self._rows and column in self._rows[0] else None

    def __getitem__(self, place):
        self.session.check_thread()
        row, column = self._row(place[0]), self._column(place[1])
        return None if row is None or column is None else Cell(self._rows, row, column)

    def __setitem__(self, place, value):
        cell = self[place]
        if cell is None:
            raise tdError(f"{self.path} has no cell {place}")
        cell.val = value


class tableDAT(_Table):
    pass


class _TextDat(Operator):
    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(text="", _module=None, _module_text=None)

    @property
    def module(self):
        """The text as a module, compiled anew after each change."""
        self.session.check_thread()
        if self._module is None or self._module_text != self.text:
            module = types.ModuleType(self.name)
            module.__dict__.update(self.session.names(self))
            self.__dict__.update(_module=module, _module_text=self.text)
            exec(compile(self.text, self.path, "exec"), module.__dict__)
        return self._module

    def run(self, *args):
        names = {**self.session.names(self), "args": args, "__name__": "__main__", "__file__": self.path}
        exec(compile(self.text, self.path, "exec"), names)

    def call(self, name, *args):
        """Calls a callback if it is there. An error is shown and stops nothing, as in the Textport."""
        try:
            function = getattr(self.module, name, None)
            with self.session.counting:
                return None if function is None else function(*args)
        except Exception as error:  # noqa: BLE001
            self.session.failed(self, error)


class textDAT(_TextDat):
    pass


class executeDAT(_TextDat):
    def event(self, toggle, name, *args):
        if self.par.active.eval() and getattr(self.par, toggle).eval():
            self.call(name, *args)


class parameterexecuteDAT(_TextDat):
    def watches(self, par, toggle):
        kind = "custom" if par.page else "builtin"
        own = self.par
        asked = own.active.eval() and getattr(own, toggle).eval() and getattr(own, kind).eval()
        return asked and own.op.eval() is par.owner and par.name in par.owner.par.matching(own.pars.eval())


class Receiver:
    """A UDP port and the thread that empties it, so that packets wait while the fake stands still."""

    def __init__(self, port):
        self.packets = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
            self._socket.bind(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        self._closing = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self._closing:
            with contextlib.suppress(OSError):
                self.packets.put(self._socket.recvfrom(65535))

    def take(self):
        while not self.packets.empty():
            packet, sender = self.packets.get()
            if packet:
                yield packet, sender

    def close(self):
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(1)
        self._socket.close()


class _Listens:
    """Binds as its parameters say. A port that is taken is a warning and no data."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(_bound=None, _receiver=None)

    def packets(self):
        wanted = self.par.port.eval() if self.par.active.eval() and self.par.protocol.eval() == "msging" else None
        if wanted != self._bound:
            self.close()
            self.__dict__.update(_bound=wanted, problems=[])
            if wanted is not None:
                try:
                    self.__dict__["_receiver"] = Receiver(wanted)
                except OSError:
                    self.problems.append(f"Cannot bind port {wanted}")
        if self._receiver is not None:
            yield from (packet for packet in self._receiver.take() if not self.session.loses())

    def close(self):
        if self._receiver is not None:
            self._receiver.close()
        self.__dict__.update(_receiver=None, _bound=None)


class oscinDAT(_Listens, _Table):
    """Message rows with a heading; one callback per message, from the frame step only."""

    def cook_frame(self):
        packets = list(self.packets())
        if not packets:
            return
        most = self.par.maxlines.eval() + 1 if self.par.clamp.eval() else None
        callbacks = self.par.callbacks.eval()
        for packet, sender in packets:
            for address, args in osc.read(packet):
                self._received(packet, address, args, sender, most, callbacks)

    def _received(self, packet, address, args, sender, most, callbacks):
        if not self._rows:
            self._rows.append(["message"])
        message = " ".join([address, *map(str, args)]).encode("ascii", "replace").decode()
        self._rows.append([message])
        if most is not None and len(self._rows) > most:
            del self._rows[1 : len(self._rows) - most + 1]
        if callbacks is not None:
            peer = types.SimpleNamespace(address=sender[0], port=sender[1], owner=self, hostname=sender[0])
            shown = args or random.choice([[], [""]])
            callbacks.call("onReceiveOSC", self, len(self._rows) - 1, message, packet, self.session.absTime.seconds, address, shown, peer)


class tuioinDAT(_Listens, _Table):
    """Touches of TUIO 1.1, from the frame step only. Its own table is empty here, because nobody has verified its columns.

    `v` counts from the top, as on the wire: projects that use it turn it round.
    """

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(_touches={}, _fresh={}, _alive=[])

    def cook_frame(self):
        events = [event for packet, _ in self.packets() for event in self._events(packet)]
        callbacks = self.par.callbacks.eval()
        if events and callbacks is not None:
            callbacks.call("onTouches", self, events)

    def _events(self, packet):
        for address, (word, *values) in osc.read(packet):
            if word == "alive":
                self.__dict__.update(_alive=values, _fresh={})
            elif word == "set":
                self._fresh[values[0]] = _touch(address.rpartition("/")[2], values)
            elif word == "fseq":
                before, fresh = self._touches, self._fresh
                there = {number: fresh.get(number, before.get(number)) for number in self._alive if number in fresh or number in before}
                self.__dict__["_touches"] = there
                yield types.SimpleNamespace(
                    timestamp=self.session.absTime.seconds,
                    touchesStart=[touch for number, touch in there.items() if number not in before],
                    touchesMove=[touch for number, touch in there.items() if number in before and number in fresh],
                    touchesNoChange=[touch for number, touch in there.items() if number in before and number not in fresh],
                    touchesEnd=[touch for number, touch in before.items() if number not in there],
                )


def _touch(profile, values):
    """A touch of the fields of its class; what its profile does not have is 0."""
    names = {
        "2Dcur": ("id", "u", "v", "velocityX", "velocityY", "motionAccel"),
        "2Dobj": ("id", "classId", "u", "v", "angleX", "velocityX", "velocityY", "rotationX", "motionAccel", "rotationAccel"),
        "2Dblb": (
            "id",
            "u",
            "v",
            "angleX",
            "width",
            "height",
            "area",
            "velocityX",
            "velocityY",
            "rotationX",
            "motionAccel",
            "rotationAccel",
        ),
    }[profile]
    fields = (
        *("id", "u", "v", "w", "angleX", "angleY", "angleZ", "width", "height", "depth", "area", "volume"),
        *("velocityX", "velocityY", "velocityZ", "rotationX", "rotationY", "rotationZ", "motionAccel", "rotationAccel", "classId"),
    )
    return types.SimpleNamespace(**{**dict.fromkeys(fields, 0), "profile": profile, **dict(zip(names, values, strict=True))})


class _Sends:
    """A socket whose port the system chooses."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__["_socket"] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def transmit(self, packet):
        host = self.par.address.eval() if hasattr(self.par, "address") else self.par.netaddress.eval()
        if not self.par.active.eval() or self.par.protocol.eval() != "msging":
            return 0
        if self.session.loses():
            return len(packet)
        try:
            return self._socket.sendto(packet, (host, self.par.port.eval()))
        except OSError:
            return 0

    def close(self):
        self._socket.close()


class oscoutDAT(_Sends, _Table):
    def sendOSC(self, *messages, asBundle, useNonStandardTypes=True, use64BitPrecision=False):
        """`asBundle` has no default here: sources differ about it, so it must be given."""
        self.session.check_thread()
        if use64BitPrecision and not useNonStandardTypes:
            raise tdError("use64BitPrecision needs useNonStandardTypes")
        parts = []
        for address, values in zip(messages[::2], messages[1::2], strict=True):
            if isinstance(values, (bytes, bytearray, str)):
                values = list(values)  # noqa: PLW2901 - the trap of the bare value
            parts.append(osc.message(address, values, nonstandard=useNonStandardTypes, wide=use64BitPrecision))
        if asBundle:
            return self.transmit(osc.bundle(parts, random.getrandbits(63)))
        return sum(self.transmit(part) for part in parts)


# ----------------------------------------------------------------------------------------------------------------- CHOPs


class _Chop(Operator):
    """`channels` is what the real ones keep inside: tests press buttons with it."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(channels={}, inputConnectors=[Connector(self)])

    def current(self):
        """Pulled from its input, where it has one."""
        source = self.inputConnectors[0].source
        return source.current() if source is not None else self.channels

    def __getitem__(self, name):
        return self.current().get(name)


class constantCHOP(_Chop):
    pass


class nullCHOP(_Chop):
    pass


class outCHOP(_Chop):
    pass


class inCHOP(_Chop):
    def current(self):
        outside = [connector.source for connector in self._parent.inputConnectors if connector.owner is self]
        return outside[0].current() if outside and outside[0] is not None else {}


def float32(value):
    return struct.unpack(">f", struct.pack(">f", value))[0]


class oscoutCHOP(_Sends, _Chop):
    """A bundle per cook, one message per channel, float32, with a time tag that is far off."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__["_sent"] = {}

    def cook_frame(self):
        channels = self.current()
        if not self.par.cookalways.eval() or not channels:
            return
        wanted = {name: value for name, value in channels.items() if self.par.sendevents.eval() or self._sent.get(name) != value}
        self.__dict__["_sent"] = dict(channels)
        number = int if self.par.numericformat.eval() == "int" else float
        if wanted:
            messages = [osc.message("/" + name, [number(value)]) for name, value in wanted.items()]
            self.transmit(osc.bundle(messages, 2**63 + self.session.absTime.frame))


class oscinCHOP(_Listens, _Chop):
    """Numbers only; the slash in front goes; a channel keeps its last value for ever."""

    def cook_frame(self):
        for packet, _ in self.packets():
            for address, args in osc.read(packet):
                if len(args) != 1 or not isinstance(args[0], (int, float)):
                    self.problems.append(f"{address} is not one number")
                    continue
                segments = address.strip("/").split("/")[self.par.stripsegments.eval() :]
                self.channels["/".join(segments)] = float32(args[0])


class dattoCHOP(_Chop):
    """One channel per column, named by the heading."""

    def current(self):
        table = self.par.dat.eval()
        rows = table._rows if table is not None else []
        return {name: [float32(float(row[column])) for row in rows[1:]] for column, name in enumerate(rows[0])} if rows else {}


# ------------------------------------------------------------------------------------------------------------------ TOPs


class FileSaveStatus:
    def __init__(self, path):
        self._path = path
        self.done = False

    def __str__(self):
        return self._path

    def isCompleted(self):
        return self.done


class _Top(Operator):
    """`image` is (h, w, 3) uint8 as OpenCV has it. A saved file is complete only after some frames."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(image=None, dtype="float32", slow_frames=1)

    def save(self, filepath, *args, **options):
        self.session.check_thread()
        known = {"quality", "createFolders", "metadata", "async" if self.session.async_keyword else "asynchronous"}
        if args or not set(options) <= known:
            raise TypeError(f"save got unexpected {args} {set(options) - known}")
        import cv2

        if options.get("createFolders"):
            os.makedirs(os.path.dirname(filepath), exist_ok=True)
        data = cv2.imencode(os.path.splitext(filepath)[1], self.image)[1].tobytes()
        status = FileSaveStatus(filepath)
        if options.get("async") or options.get("asynchronous"):
            self._write(filepath, data[: len(data) // 2])
            self.session.later(5, lambda: (self._write(filepath, data), setattr(status, "done", True)))
        else:
            self._write(filepath, data)
            status.done = True
        return status if self.session.year >= 2025 else filepath

    @staticmethod
    def _write(path, data):
        with open(path, "wb") as file:
            file.write(data)

    def numpyArray(self, delayed=False, writable=False):
        """RGBA, the bottom row first; float32, or what `dtype` says. Delayed: the picture of the call before, if a frame has passed since
        it and the graphics card is done (`slow_frames`); otherwise None.
        """
        self.session.check_thread()
        if not delayed:
            return self._pixels()
        frame = self.session.absTime.frame
        asked, self.__dict__["_asked"] = self.__dict__.get("_asked"), (frame, self._pixels())
        return asked[1] if asked is not None and asked[0] + max(1, self.slow_frames) <= frame else None

    def _pixels(self):
        import numpy as np

        if self.image.shape[2] == 4:  # as they are, for benchmarks
            return self.image
        rgba = np.dstack([self.image[::-1, :, ::-1], np.full(self.image.shape[:2], 255, np.uint8)])
        return (rgba / 255).astype(np.float32) if self.dtype == "float32" else np.ascontiguousarray(rgba)


class nullTOP(_Top):
    pass


class moviefileinTOP(_Top):
    pass


class webrenderTOP(_Top):
    """`shown` is the address that a browser would show; None while it is off."""

    @property
    def shown(self):
        return self.par.url.eval() if self.par.active.eval() else None


class outTOP(_Top):
    """`shown` is what its input shows."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__["inputConnectors"] = [Connector(self)]

    @property
    def shown(self):
        return self.inputConnectors[0].source.shown


class scriptTOP(_Top):
    """`shown` is what its script has copied into it, the bottom row first."""

    def __init__(self, session, parent, name):
        super().__init__(session, parent, name)
        self.__dict__.update(shown=None, cooks=0, _cooking=False)

    def cook(self, force=False):
        """Calls onCook of its callbacks DAT."""
        self.session.check_thread()
        callbacks = self.par.callbacks.eval()
        if force and callbacks is not None:
            self.__dict__.update(_cooking=True, cooks=self.cooks + 1)
            callbacks.call("onCook", self)
            self.__dict__["_cooking"] = False

    def copyNumpyArray(self, arr):
        """Only inside onCook; (h, w, 1 to 4) of uint8, uint16 or float32."""
        self.session.check_thread()
        if not self._cooking:
            raise tdError("copyNumpyArray can only be called within the onCook callback")
        if (
            arr.ndim != 3
            or not 1 <= arr.shape[2] <= 4
            or str(arr.dtype) not in ("uint8", "uint16", "float32")
            or not arr.flags.c_contiguous
        ):
            raise tdError(f"copyNumpyArray does not take {arr.dtype} {arr.shape}")
        self.__dict__["shown"] = arr.copy()


TYPES = {
    kind.__name__: kind
    for kind in (
        *(baseCOMP, tableDAT, textDAT, executeDAT, parameterexecuteDAT, oscinDAT, oscoutDAT, tuioinDAT),
        *(
            constantCHOP,
            nullCHOP,
            inCHOP,
            outCHOP,
            oscoutCHOP,
            oscinCHOP,
            dattoCHOP,
            nullTOP,
            moviefileinTOP,
            outTOP,
            scriptTOP,
            webrenderTOP,
        ),
    )
}
