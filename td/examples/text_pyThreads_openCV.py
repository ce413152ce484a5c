"""Draws 500 images with one red circle each into temp-files/imgs/attempt{n}.png without stopping a frame.

Put this into a Text DAT beside the component ImageWorker and run it; watch the component's Progress and its table `files`.
"""

COUNT = 500
SIZE = 512

# The positions come from TouchDesigner's own random numbers, so the images are the same as if it had drawn them itself.
# y of one image is x of the next.
numbers = [int(tdu.rand(n) * SIZE) for n in range(COUNT + 1)]
centers = [number for pair in zip(numbers, numbers[1:]) for number in pair]

op("ImageWorker").Submit(
    "draw_circles",
    output="temp-files/imgs/attempt{n}.png",
    count=COUNT,
    width=SIZE,
    height=SIZE,
    radius=63,
    color="#ff0000",
    thickness=-1,
    centers=centers,
)
