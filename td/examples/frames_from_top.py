"""Finds the circles in the TOP `null1` again and again, while it moves, and gives them as channels: x y radius u v score.

Put this into a Text DAT beside the component ImageWorker and the TOP null1. Run it to begin, and run it again to end. No file is saved: the
pixels go through memory. A picture that still waits is replaced by a newer one, so the circles are never of long ago. For instances, see
find_circles_in_top.py.
"""

EVERY_FRAMES = 2


def shoot(dat, worker):
    """The picture of this frame, if this was not ended meanwhile."""
    if dat.fetch("live", False):
        worker.Submit("find_circles", top=op("null1"), replace="null1", priority=0)
        run(shoot, dat, worker, delayFrames=EVERY_FRAMES)


def channels(worker):
    """A DAT to CHOP behind the component's table `results`."""
    chop = op("circles")
    if chop is None:
        chop = worker.parent().create("dattoCHOP", "circles")
        chop.nodeX, chop.nodeY = worker.nodeX + 200, worker.nodeY
    chop.par.dat = worker.op("results")
    return chop


channels(op("ImageWorker"))
me.store("live", not me.fetch("live", False))
shoot(me, op("ImageWorker"))
