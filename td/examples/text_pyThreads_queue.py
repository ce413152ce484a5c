"""Writes temp-files/attempt2.txt and shows in the Table DAT `table1` how far it is: Processing, then Ready.

Put this into a Text DAT beside the component ImageWorker and a Table DAT table1, and run it. There is no queue in the storage and no
Execute DAT that looks into it at every frame: the worker's report is the event.
"""


def show(word):
    table = op("table1")
    if table is not None:
        table.clear()
        table.appendRow([word])


def ready(job):
    show(job.word)


worker = op("ImageWorker")
job_id = worker.Submit(
    "write_text",
    output="temp-files/attempt2.txt",
    header="Start Working Function",
    line="For loop {n} entry",
    count=100000,
    footer="Ending working Function",
)
show("Processing")
worker.OnReady(job_id, ready)
