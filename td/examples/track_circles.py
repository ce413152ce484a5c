"""Follows the circles in the TOP `null1`: each keeps its id while it moves. They are the channels of the CHOP `tracked`.

Put this into a Text DAT beside the component ImageWorker and the TOP null1. Run it to begin, and run it again to end. For a camera or a
video write source='camera:0' or source='clip.mp4' in place of top=.... The component's TOP `frame`, and its output, show the picture with
the circles, their ids and trails. That costs the worker some time for each picture: leave `overlay` out once all is set up.
"""

OVERLAY = "frame:td-image-worker-frames/circles-overlay.frame"

worker = op("ImageWorker")


def channels():
    """A DAT to CHOP behind the component's table `tracks`."""
    chop = op("tracked")
    if chop is None:
        chop = worker.parent().create("dattoCHOP", "tracked")
        chop.nodeX, chop.nodeY = worker.nodeX + 200, worker.nodeY
    chop.par.dat = worker.op("tracks")
    return chop


channels()
if me.fetch("job", ""):
    worker.Cancel(me.fetch("job", ""))
    me.store("job", "")
else:
    me.store("job", worker.Live("track", top=op("null1"), what="circles", min_radius=10, name="circles", overlay=OVERLAY))
