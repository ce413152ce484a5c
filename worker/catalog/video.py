"""The parameters of the operations on videos."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import READ, WRITE_IMAGE, WRITE_VIDEO, Color, DataOut, ImageIn, Params, Quality

Every = Annotated[int, Meta(ge=1, le=100_000, extra={"unit": "frames"}, description="1 = each frame, 10 = each tenth")]
Start = Annotated[float, Meta(ge=0, le=10_000_000, description="first frame that is used, as `unit` says")]
End = Annotated[float, Meta(ge=0, le=10_000_000, description="first frame that is not used any more, as `unit` says; 0 = to the end")]
Unit = Annotated[Literal["seconds", "frames"], Meta(description="what start and end count, from 0 at the first frame")]


class ReadVideo(Params, frozen=True, kw_only=True):
    video: Annotated[str, Meta(min_length=1, extra=READ, description="video file")]
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="image files to write; {n} counts from 0, {name} is the name of the video")
    ]
    every: Every = 1
    start: Start = 0.0
    end: End = 0.0
    unit: Unit = "seconds"
    width: Annotated[
        int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="width of the images, their proportions stay; 0 = as in the video")
    ] = 0
    quality: Quality = 90
    data: DataOut = ""


class MakeVideo(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE_VIDEO, description="video to write; it ends in .mp4, .mov, .avi, .mkv or .webm")]
    fps: Annotated[float, Meta(ge=0.1, le=240, description="frames per second")] = 25.0
    hold: Annotated[int, Meta(ge=1, le=10_000, extra={"unit": "frames"}, description="how many frames each image stays")] = 1
    codec: Annotated[
        Literal["auto", "h264", "hevc", "prores", "mp4v", "mjpg", "vp8", "vp9", "ffv1"],
        Meta(
            description="auto = as the ending suggests; mjpg and prores = each frame by itself, for scrubbing; ffv1 = nothing is lost; "
            "h264, hevc and prores need the extra [video]"
        ),
    ] = "auto"
    quality: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="1 = small files, 100 = no loss that is seen; 0 = as the codec does by itself; needs the extra [video]",
        ),
    ] = 0
    width: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="width of the video; 0 = of the first image")] = 0
    height: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="height of the video; 0 = of the first image")] = 0
    fit: Annotated[
        Literal["pad", "crop", "stretch"],
        Meta(description="images of other proportions: pad = all of it and bars, crop = no bars and cut, stretch = out of proportion"),
    ] = "pad"
    background: Annotated[Color, Meta(description="colour of the bars, and behind what is transparent, as #rrggbb")] = "#000000"
