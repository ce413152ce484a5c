"""The parameters of each operator type, from sections 1 to 6 of the fact sheet. Defaults that nobody has verified are unfriendly."""

TYPES_OF_DATS = {"language": ("Str", "text"), "extension": ("Str", ""), "customext": ("Str", ""), "wordwrap": ("Toggle", False)}
OSC_DAT = {
    "active": ("Toggle", False),
    "protocol": ("Menu", "multicastmsging", ("msging", "multicastmsging", "reliablemsging")),
    "address": ("Str", "239.0.0.1"),
    "port": ("Int", 10000),
    "localaddress": ("Str", ""),
    "shared": ("Toggle", False),
    "addscope": ("Str", "/nothing"),
    "typetag": ("Toggle", True),
    "splitbundle": ("Toggle", False),
    "splitmessage": ("Toggle", True),
    "bundletimestamp": ("Toggle", True),
    "callbacks": ("OP", ""),
    "executeloc": ("Menu", "current", ("current", "callbacks", "op")),
    "fromop": ("OP", ""),
    "clamp": ("Toggle", True),
    "maxlines": ("Int", 100),
    "clear": ("Pulse", None),
    "bytes": ("Toggle", False),
}
OSC_CHOP = {
    "active": ("Toggle", False),
    "protocol": ("Menu", "multicastmsging", ("msging", "multicastmsging", "reliablemsging")),
    "netaddress": ("Str", "239.0.0.1"),
    "port": ("Int", 10000),
    "localaddress": ("Str", ""),
}
EXECUTE_EVENTS = (
    "start",
    "create",
    "exit",
    "framestart",
    "frameend",
    "playstatechange",
    "devicechange",
    "projectpresave",
    "projectpostsave",
)
PARAMETER_EVENTS = (
    *("valuechange", "valueschanged", "onpulse", "expressionchange", "exportchange", "enablechange", "modechange", "custom", "builtin"),
)

PARAMETERS = {
    "baseCOMP": {
        "reinitextensions": ("Pulse", None),
        "parentshortcut": ("Str", ""),
        "opshortcut": ("Str", ""),
        "externaltox": ("File", ""),
    },
    "oscinDAT": OSC_DAT,
    "oscoutDAT": OSC_DAT,
    "tuioinDAT": {
        **{name: OSC_DAT[name] for name in ("active", "protocol", "address", "shared", "callbacks", "executeloc", "fromop")},
        "port": ("Int", 3000),  # the default is not known
    },
    "textDAT": {"file": ("File", ""), "syncfile": ("Toggle", False), "loadonstart": ("Toggle", False), "write": ("Pulse", None)},
    "tableDAT": {"file": ("File", ""), "syncfile": ("Toggle", False)},
    "executeDAT": {"active": ("Toggle", False), **dict.fromkeys(EXECUTE_EVENTS, ("Toggle", False))},
    "parameterexecuteDAT": {
        "active": ("Toggle", False),
        "op": ("OP", ""),
        "pars": ("Str", ""),
        **dict.fromkeys(PARAMETER_EVENTS, ("Toggle", False)),
    },
    "oscinCHOP": {
        **OSC_CHOP,
        "oscaddressscope": ("Str", "*"),
        "useglobalrate": ("Toggle", True),
        "queued": ("Toggle", True),
        "stripsegments": ("Int", 1),
        "resetchannelspulse": ("Pulse", None),
    },
    "oscoutCHOP": {
        **OSC_CHOP,
        "cookalways": ("Toggle", False),
        "numericformat": ("Menu", "int", ("int", "float", "double")),
        "format": ("Menu", "timeslice", ("sample", "timeslice", "transpose")),
        "maxbytes": ("Int", 1024),
        "sendevents": ("Toggle", False),
    },
    "constantCHOP": {},
    "nullCHOP": {"cooktype": ("Menu", "auto", ("auto", "always", "selective"))},
    "inCHOP": {},
    "outCHOP": {},
    "dattoCHOP": {
        "dat": ("OP", ""),
        "extractrows": ("Menu", "all", ("all", "byname", "byindex")),
        "extractcols": ("Menu", "all", ("all", "byname", "byindex")),
    },
    "nullTOP": {},
    "outTOP": {},
    "webrenderTOP": {
        "active": ("Toggle", True),
        "source": ("Menu", "urlorfile", ("urlorfile", "dat")),
        "url": ("Str", ""),
        "dat": ("OP", ""),
        "reloadsrc": ("Pulse", None),
        "reload": ("Pulse", None),
        "alwayscook": ("Toggle", False),
        "transparent": ("Toggle", True),
        "maxrenderrate": ("Float", 60.0),
        "sharedtexture": ("Toggle", True),
        "autorestart": ("Toggle", False),
        "outputresolution": ("Menu", "useinput", ("useinput", "custom")),
        "resolutionw": ("Int", 256),
        "resolutionh": ("Int", 256),
    },
    "scriptTOP": {"callbacks": ("OP", ""), "setuppars": ("Pulse", None)},
    "moviefileinTOP": {"file": ("File", ""), "reload": ("Toggle", False), "reloadpulse": ("Pulse", None)},
}
for _type, _parameters in PARAMETERS.items():
    if _type.endswith("DAT"):
        _parameters.update({name: value for name, value in TYPES_OF_DATS.items() if name not in _parameters})

OLD_EXTENSION = {"extension1": ("Str", ""), "extname1": ("Str", ""), "promoteextension1": ("Toggle", False)}
NEW_EXTENSION = {"ext0object": ("Str", ""), "ext0name": ("Str", ""), "ext0promote": ("Toggle", False)}
