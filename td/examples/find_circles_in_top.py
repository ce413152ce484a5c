"""Finds the circles in the TOP `null1`, and gives them as channels: x y radius u v score, one sample per circle.

Put this into a Text DAT beside the component ImageWorker and the TOP null1, and run it as often as you like. For instances, set on a
Geometry COMP, page Instance: Instancing on, Default Instance OP circles, Translate X u, Translate Y v. u and v run from 0 to 1 from the
bottom left, as everything in TouchDesigner does; radius is in pixels.
"""

import os

PNG_END = b"IEND\xaeB`\x82"  # the last bytes of every complete PNG file


def shoot(top, worker):
    """Saves the TOP without waiting for the file, under a name that no older picture has."""
    folder = (worker.par.Root.eval() or project.folder) + "/temp-files/tops"
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/{top.name}-{absTime.frame}.png"
    try:
        top.save(path, asynchronous=True)
    except TypeError:  # the oldest builds call it so
        top.save(path, **{"async": True})
    run(submit_when_complete, path, worker, delayFrames=1)


def submit_when_complete(path, worker):
    """The file is written by a thread of TouchDesigner. A worker that read half of it would fail, so its end is looked for first."""
    if not is_complete(path):
        run(submit_when_complete, path, worker, delayFrames=1)
        return
    job_id = worker.Submit("find_circles", image=path, replace="null1")  # a newer picture takes the place of one that still waits
    worker.OnReady(job_id, lambda _: os.remove(path))


def is_complete(path):
    try:
        with open(path, "rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:  # not there yet, or too short
        return False


def channels(worker):
    """A DAT to CHOP behind the component's table `results`."""
    chop = op("circles")
    if chop is None:
        chop = worker.parent().create("dattoCHOP", "circles")
        chop.nodeX, chop.nodeY = worker.nodeX + 200, worker.nodeY
    chop.par.dat = worker.op("results")
    return chop


channels(op("ImageWorker"))
shoot(op("null1"), op("ImageWorker"))
