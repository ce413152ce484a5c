"""The operations by name: what `worker.catalog.table.CATALOG` describes, stands here as functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from worker.operations import (
    calibration,
    circles,
    colors,
    comparing,
    compositing,
    convert,
    copying,
    drawing,
    ellipses,
    faces,
    features,
    filtering,
    geometry,
    markers,
    matching,
    measuring,
    motion,
    noop,
    outlines,
    poses,
    reading,
    rectangles,
    text,
    track,
    track_marks,
    tuning,
    video,
)
from worker.operations.shapes import Detector, Film, Filter, Folder, Frames, Live, Nothing, Operation, Source, Text, Transfer, Trials

_FRAMES = Frames(video.expected, video.takes, video.is_past, video.as_it_is, check=video.check_range, unavailable=video.unavailable)

OPERATIONS: Mapping[str, Operation] = {
    # noop
    "noop": Nothing(noop.noop),
    # text
    "write_text": Text(text.check, text.steps, text.blocks, text.between),
    "write_json": Text(text.check_json, text.one_step, text.json_blocks, text.nothing_between),
    "write_csv": Text(text.check_csv, text.one_step, text.csv_blocks, text.nothing_between, text.csv_head),
    # copying
    "copy": Transfer(copying.target_of, copying.names_folder),
    "move": Transfer(copying.target_of, copying.names_folder, removes=True),
    # drawing
    "draw_circles": Source(drawing.check, drawing.count, drawing.draw_circle),
    # circles
    "find_circles": Detector(circles.detect_circles, circles.mark_circles, circles.check),
    # ellipses
    "find_ellipses": Detector(ellipses.detect_ellipses, ellipses.mark_ellipses, ellipses.check),
    # features
    "find_features": Detector(features.find_features, features.mark_features, features.check, ("mask",), features.unavailable),
    # matching
    "match_features": Detector(matching.match_features, None, matching.check, ("reference",), matching.unavailable),
    "find_object": Detector(matching.find_object, matching.mark_objects, matching.check, ("reference",), matching.unavailable),
    "align": Filter(matching.align, matching.check, references=("reference",), unavailable=matching.unavailable),
    "stitch": Folder(matching.stitch),
    # colors
    "find_colors": Detector(colors.find_colors, colors.mark_colors, colors.check_colors),
    "find_color_regions": Detector(colors.find_color_regions, None, colors.check_regions),
    "match_palette": Filter(colors.match_palette, colors.check_palette, references=("palette_image",)),
    # markers
    "find_markers": Detector(markers.find_markers, None, markers.check, unavailable=markers.unavailable),
    # reading
    "find_text": Detector(reading.find_text, None, reading.check, unavailable=reading.unavailable),
    # comparing
    "compare": Detector(comparing.compare, None, references=("reference",)),
    "find_doubles": Folder(comparing.find_doubles),
    # measuring
    "measure": Detector(measuring.measure, None, measuring.check),
    "pick_best": Folder(measuring.pick_best, measuring.check),
    # outlines
    "find_contours": Detector(outlines.find_contours, None, outlines.check),
    "find_blobs": Detector(outlines.find_blobs, outlines.mark_blobs, outlines.check),
    "find_lines": Detector(outlines.find_lines, outlines.mark_lines, outlines.check),
    "find_rectangles": Detector(rectangles.find_rectangles, rectangles.mark_rectangles),
    # calibration
    "calibrate": Folder(calibration.calibrate, calibration.check),
    "undistort": Filter(calibration.undistort, calibration.check_undistort, references=("calibration",)),
    "pose": Detector(poses.pose, None, poses.check, ("calibration",)),
    # motion
    "find_motion": Detector(motion.find_motion, None, references=("reference",), previous="reference", frames=_FRAMES),
    "optical_flow": Detector(motion.optical_flow, None, motion.check_flow, ("reference",), previous="reference", frames=_FRAMES),
    # faces
    "find_faces": Detector(faces.find_faces, None, faces.check, ("model",)),
    # filtering
    "filter": Filter(filtering.filter_image, filtering.check),
    # geometry
    "crop": Filter(geometry.crop, geometry.check_crop),
    "rotate": Filter(geometry.rotate, size=geometry.rotated_size),
    "warp": Filter(geometry.warp, geometry.check_warp, size=geometry.warped_size),
    # compositing
    "overlay": Filter(compositing.overlay, compositing.check_overlay, references=("picture",)),
    "contact_sheet": Folder(compositing.contact_sheet),
    # tuning
    "tune": Detector(tuning.tune, None, tuning.check_tune, single=True),
    "sweep": Trials(tuning.trials, tuning.sheet, tuning.check_sweep),
    # video
    "read_video": Frames(video.expected, video.takes, video.is_past, video.scaled, video.frame_size, video.check_range, video.unavailable),
    "make_video": Film(video.film_size, video.codec, video.as_frame, video.check_film, video.unavailable_codecs),
    # track
    "track": Live(track.view_of, track.places_of, track_marks.draw_tracks, track.check),
    # convert
    "convert": Filter(
        convert.convert_file, convert.check, size=convert.target_size, unavailable=convert.unavailable, shrinks=True, profiles=True
    ),
}


def unavailable(operations: Mapping[str, Operation] = OPERATIONS) -> dict[str, str]:
    """What cannot be done here, with the reason: an operation, or an operation and one of its values."""
    return {f"{name} {what}".rstrip(): reason for name, what, reason in _missing(operations)}


def _missing(operations: Mapping[str, Operation]) -> Iterator[tuple[str, str, str]]:
    for name, operation in operations.items():
        for what, reason in operation.unavailable().items():
            yield name, what, reason
