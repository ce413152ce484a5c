"""Follows circles and takes them out of a TUIO In DAT, as from a touch table: the table `touches` has a row for each of them.

Put this into a Text DAT beside the component ImageWorker and the TOP null1. Run it to begin, and run it again to end. It makes the TUIO In
DAT `tuioin` at PORT, its callbacks, and the table: id, u and v from the bottom left, width and height as shares of the picture, and the
number of a marker. Other programs that read TUIO may have the port instead: leave `tuioin` out then. A project that reads touches already
needs the last lines only.
"""

PORT = 3333
COLUMNS = ("id", "u", "v", "width", "height", "code")

#: All touches that are there stand in the newest event: those that began, that moved, and that stayed where they are.
CALLBACKS = """
def onTouches(dat, events):
    table = dat.parent().op("touches")
    table.clear(keepFirstRow=True)
    newest = events[-1]
    for touch in [*newest.touchesStart, *newest.touchesMove, *newest.touchesNoChange]:
        # TUIO counts v from the top, TouchDesigner from the bottom.
        table.appendRow([touch.id, touch.u, 1 - touch.v, touch.width, touch.height, touch.classId])
"""

worker = op("ImageWorker")


def operator(kind, name, place):
    """One that is made only once."""
    found = op(name)
    if found is None:
        found = worker.parent().create(kind, name)
        found.nodeX, found.nodeY = worker.nodeX + 200 * place, worker.nodeY - 300
    return found


def listen(port):
    """A TUIO In DAT, the table it fills, and its callbacks. `active` comes last, so that it opens this port and no other."""
    table = operator("tableDAT", "touches", 2)
    table.clear()
    table.appendRow(COLUMNS)
    tuio = operator("tuioinDAT", "tuioin", 1)
    tuio.par.active = False
    callbacks = tuio.par.callbacks.eval() or operator("textDAT", "tuioin_callbacks", 3)
    callbacks.text = CALLBACKS
    tuio.par.callbacks = callbacks
    tuio.par.protocol = "msging"
    tuio.par.port = port
    tuio.par.active = True


if me.fetch("job", ""):
    worker.Cancel(me.fetch("job", ""))
    me.store("job", "")
else:
    listen(PORT)
    tuio = "127.0.0.1:" + str(PORT)
    me.store("job", worker.Live("track", top=op("null1"), what="circles", min_radius=10, name="touches", tuio=tuio))
