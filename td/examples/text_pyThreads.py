"""Writes a text of 100,000 lines into temp-files/attempt1.txt without stopping a frame.

Put this into a Text DAT beside the component ImageWorker and run it. The file appears complete, under the worker's root.
"""

# This runs in the worker. A thread would share TouchDesigner's one Python with everything that draws.
op("ImageWorker").Submit(
    "write_text",
    output="temp-files/attempt1.txt",
    header="Start Working Function",
    line="For loop {n} entry",
    count=100000,
    footer="Ending working Function",
)
