"""Your own code goes here; building the component again keeps it.

worker: the component ImageWorker
job:    id, operation, word, progress, step, steps, items, wait_ms, run_ms, rows, fields, files, code, message, hint

These run on TouchDesigner's main thread: be quick. Only finished files are told, so they may be loaded at once.
Each job comes to onReady or to onFailed, once. onProcessing and onProgress may be missing where a packet was lost.
"""


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
