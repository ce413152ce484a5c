"""Sixteen instances that follow circles: an object stays in its row, and the CHOP `slots` always has sixteen samples.

Put this into a Text DAT beside the component ImageWorker and the TOP null1, and run it. Give the CHOP to a Geometry COMP (page Instance):
Translate X and Y are u and v, Scale is radius. An instance without an object has the radius 0, so nobody sees it. Run it again to end.
"""

SLOTS = 16

worker = op("ImageWorker")


def operator(kind, name, place):
    """One that is made only once."""
    found = op(name)
    if found is None:
        found = worker.parent().create(kind, name)
        found.nodeX, found.nodeY = worker.nodeX + 200 * place, worker.nodeY - 150
    return found


rows = operator("dattoCHOP", "slots", 1)
rows.par.dat = worker.op("tracks")

if me.fetch("job", ""):
    worker.Cancel(me.fetch("job", ""))
    me.store("job", "")
else:
    me.store("job", worker.Live("track", top=op("null1"), what="circles", slots=SLOTS, keep=30, name="instances"))
