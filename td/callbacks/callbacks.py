"""Your own code goes here. If you build the component again, it is kept.

worker: the component ImageWorker
job:    id, operation, word, progress, step, steps, items, wait_ms, run_ms, rows, fields, files, code, message, hint

These functions run on TouchDesigner's main thread: keep them short. The files of a job are complete, so you can load them at once.
Each job calls onReady or onFailed, once. onProcessing and onProgress are not called if a packet was lost.
"""


def onTracked(worker, job):
    """A live job has seen a picture: job.tracks are its rows, job.track_fields their names."""


def onSource(worker, job):
    """The source of a live job: job.source is Opening, Live, Lost or Ended."""


def onProcessing(worker, job):
    pass


def onProgress(worker, job):
    pass


def onReady(worker, job):
    pass


def onFailed(worker, job):
    pass


def onWorkerLost(worker):
    pass


def onWorkerBack(worker):
    pass
