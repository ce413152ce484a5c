"""The operations of this worker: the one table from which help, `/worker/describe` and the tables in the docs are made.

Each row has a twin of the same name in `worker.operations.table`, which holds the functions; a test keeps the two together.
Rows stand together by family: a family is a file here and a file of the same name in `worker/operations`.
"""

from __future__ import annotations

from worker.catalog.calibration import Calibrate, Pose, Undistort
from worker.catalog.catalog import Catalog
from worker.catalog.circles import FindCircles
from worker.catalog.colors import FindColorRegions, FindColors, MatchPalette
from worker.catalog.comparing import Compare, FindDoubles
from worker.catalog.compositing import ContactSheet, Overlay
from worker.catalog.convert import Convert
from worker.catalog.copying import Copy, Move
from worker.catalog.drawing import DrawCircles
from worker.catalog.ellipses import FindEllipses
from worker.catalog.faces import FindFaces
from worker.catalog.features import FindFeatures
from worker.catalog.filtering import FilterSteps
from worker.catalog.geometry import Crop, Rotate, Warp
from worker.catalog.markers import FindMarkers
from worker.catalog.matching import Align, FindObject, MatchFeatures, Stitch
from worker.catalog.measuring import Measure, PickBest
from worker.catalog.motion import FindMotion, OpticalFlow
from worker.catalog.noop import Noop
from worker.catalog.outlines import FindBlobs, FindContours, FindLines, FindRectangles
from worker.catalog.reading import FindText
from worker.catalog.rows import ANGLE, AREA, BLUE, BOX, GREEN, OBJECT, RADIUS, RED, RESPONSE, SCORE, SHARE, SIZE, Column, U, V, X, Y
from worker.catalog.rows import OperationInfo as Row
from worker.catalog.text import WriteCsv, WriteJson, WriteText
from worker.catalog.track import Track
from worker.catalog.tuning import Sweep, Tune
from worker.catalog.video import MakeVideo, ReadVideo

_CIRCLE = (X, Y, RADIUS, U, V, SCORE)
_ELLIPSE = (X, Y, Column("width", 3), Column("height", 3), ANGLE, U, V, SCORE)
_HOMOGRAPHY = (Column("inliers"), Column("matches"), *(Column(f"h{row}{column}", 12) for row in (1, 2, 3) for column in (1, 2, 3)))
_CORNERS = (X, Y, U, V, SCORE, OBJECT)
_ALIGNED = (Column("found"), Column("matches"), Column("shift_x", 3), Column("shift_y", 3), Column("turn", 3))
_FEATURE = (X, Y, SIZE, ANGLE, RESPONSE, U, V)
_COLOR = (SHARE, RED, GREEN, BLUE, Column("lab_l", 2), Column("lab_a", 2), Column("lab_b", 2))
_COLOR_REGION = (X, Y, U, V, AREA, *BOX, RED, GREEN, BLUE)
_QUAD = tuple(Column(f"{axis}{corner}", 2) for corner in (1, 2, 3, 4) for axis in "xy")
_MARKER = (Column("kind", 0), Column("id", 0), X, Y, U, V, SIZE, ANGLE, *_QUAD)
_TEXT = (X, Y, U, V, Column("width", 2), Column("height", 2), ANGLE, SCORE, *_QUAD)
_CONTOUR = (
    *(X, Y, U, V, AREA, Column("perimeter", 2), *BOX),
    *(Column("long", 2), Column("short", 2), ANGLE, Column("solidity", 4), Column("parent", 0)),
)
_LINE = (
    *(Column(name, 3) for name in ("x1", "y1", "x2", "y2")),
    *(Column(name, 6) for name in ("u1", "v1", "u2", "v2")),
    Column("length", 2),
    ANGLE,
)
_RECTANGLE = (X, Y, U, V, Column("width", 2), Column("height", 2), ANGLE, SCORE, *_QUAD)
_CELL = tuple(Column(name, 0) for name in ("column", "row", "items", "left_out", "failed"))
_CELL_TEXTS = ("value", "second_value", "message")
_TUNED = (
    *(Column("min_radius", 2), Column("max_radius", 2), Column("min_distance", 2), Column("nested", 0), Column("sensitivity", 2)),
    *(Column("strictest", 2), Column("loosest", 2), Column("found", 0), Column("others", 0)),
)
_FACE = (
    *(X, Y, U, V, Column("width", 2), Column("height", 2), ANGLE, SCORE),
    *(Column(f"{point}_{axis}", 2) for point in ("right_eye", "left_eye", "nose", "mouth") for axis in "xy"),
)
_COMPARED = (
    *(Column("mse"), Column("psnr", 3), Column("ssim", 5), Column("phash", 0), Column("dhash", 0), Column("changed", 5)),
    Column("scaled", 0),
)
_DOUBLE = (
    *(Column(name, 0) for name in ("group", "best", "distance")),
    *(Column("ssim", 4), Column("width", 0), Column("height", 0), Column("image", 0)),
)
_MEASURED = (
    *(Column(name, 5) for name in ("brightness", "contrast", "low", "high", "dark", "bright", "noise")),
    Column("sharpness"),
)
_CALIBRATION = (
    *(Column("error", 4), Column("points", 0), Column("tilt", 2), Column("distance"), Column("rms", 4)),
    *(Column(name, 3) for name in ("fx", "fy", "cx", "cy")),
    *(Column(name, 6) for name in ("k1", "k2", "p1", "p2", "k3")),
    *(Column("fov_x", 3), Column("fov_y", 3), Column("image")),
)
_FRAME = (Column("frame", 0), Column("seconds", 6))
_UNDISTORTED = (
    *(Column(name, 3) for name in ("fx", "fy", "cx", "cy", "fov_x", "fov_y")),
    *(Column(name, 0) for name in ("left", "top", "width", "height")),
)
_POSE = (
    *(Column("id", 0), X, Y, U, V),
    *(Column(name) for name in ("tx", "ty", "tz")),
    *(Column(name, 3) for name in ("rx", "ry", "rz")),
    *(Column("distance"), Column("error", 3), Column("ambiguity", 3)),
    *(Column(f"m{row}{column}", 6) for column in range(4) for row in range(4)),
)
_MOTION = (
    *(X, Y, U, V, AREA, *BOX, Column("dx", 2), Column("dy", 2), Column("speed", 2)),
    *(SCORE, SHARE),
)
_FLOW = (X, Y, U, V, Column("dx", 3), Column("dy", 3), Column("length", 3), ANGLE, Column("error", 3))

#: `row` is the object's place in a table of fixed length; `code` is a marker's number, otherwise -1.
TRACK = (
    *(Column("row", 0), Column("id", 0), Column("active", 0), X, Y, RADIUS, U, V),
    *(Column("vx", 2), Column("vy", 2), Column("speed", 2), Column("age", 3), Column("missing", 0), ANGLE, Column("code", 0)),
)

CATALOG = Catalog(
    (
        # noop
        Row("noop", Noop, "Does nothing; measures the way to a child process and back.", probe=True),
        # text
        Row("write_text", WriteText, "Writes a text file.", item="file", few=10_000),
        Row("write_json", WriteJson, "Writes a JSON file, or adds a line to one of JSON lines.", item="file"),
        Row("write_csv", WriteCsv, "Writes a table as CSV, or adds rows to one.", item="file"),
        # copying
        Row("copy", Copy, "Copies files as they are.", item="file"),
        Row("move", Move, "Moves files: each is removed once it is whole in the other place.", item="file"),
        # drawing
        Row("draw_circles", DrawCircles, "Draws images with one circle each.", "circles", _CIRCLE, item="file", few=8),
        # circles
        Row("find_circles", FindCircles, "Finds circles in images.", "circles", _CIRCLE, followed="circles"),
        # ellipses
        Row("find_ellipses", FindEllipses, "Finds ellipses, such as circles seen at an angle.", "ellipses", _ELLIPSE),
        # features
        Row("find_features", FindFeatures, "Finds feature points in images.", "features", _FEATURE),
        # matching
        Row("match_features", MatchFeatures, "Finds how one picture of a thing maps onto another.", "homography", _HOMOGRAPHY),
        Row(
            "find_object",
            FindObject,
            "Finds a known flat thing, turned, scaled or in perspective.",
            "corners",
            _CORNERS,
            followed="template",
        ),
        Row("align", Align, "Lays pictures of the same scene onto one of them.", "aligned", _ALIGNED, item="file"),
        Row("stitch", Stitch, "Joins overlapping pictures into a panorama.", item="file"),
        # colors
        Row("find_colors", FindColors, "Finds the main colours of images.", "colors", _COLOR, ("hex",)),
        Row("find_color_regions", FindColorRegions, "Finds regions of a given colour.", "color_regions", _COLOR_REGION, followed="colors"),
        Row("match_palette", MatchPalette, "Makes pictures in the colours of a palette.", "palette", (SHARE, RED, GREEN, BLUE), ("hex",)),
        # markers
        Row(
            "find_markers",
            FindMarkers,
            "Finds ArUco and AprilTag markers, QR codes and barcodes.",
            "markers",
            _MARKER,
            ("type", "text"),
            followed="markers",
        ),
        # reading
        Row("find_text", FindText, "Finds lines of printed text, and reads them.", "text", _TEXT, ("text",)),
        # comparing
        Row("compare", Compare, "Says how alike two pictures are: PSNR, SSIM, perceptual hashes.", "comparison", _COMPARED),
        Row("find_doubles", FindDoubles, "Finds pictures of a folder that show the same.", "doubles", _DOUBLE),
        # measuring
        Row("measure", Measure, "Measures brightness, contrast, clipping, noise and sharpness.", "measured", _MEASURED),
        Row(
            *("pick_best", PickBest, "Ranks the images of a folder, and picks the sharpest.", "ranked"),
            (Column("best", 0), *_MEASURED, Column("image", 0)),
        ),
        # outlines
        Row("find_contours", FindContours, "Finds contours of bright, dark or opaque things.", "contours", _CONTOUR, followed="contours"),
        Row("find_blobs", FindBlobs, "Finds round spots.", "blobs", (X, Y, RADIUS, U, V, Column("bright", 0)), followed="blobs"),
        Row("find_lines", FindLines, "Finds straight lines.", "lines", _LINE),
        Row(
            "find_rectangles",
            FindRectangles,
            "Finds sheets, screens and other rectangles in perspective.",
            "rectangles",
            _RECTANGLE,
            followed="rectangles",
        ),
        # calibration
        Row("calibrate", Calibrate, "Measures a camera from pictures of a printed board.", "calibration", _CALIBRATION),
        Row("undistort", Undistort, "Takes the distortion of a lens out of pictures.", "undistorted", _UNDISTORTED, item="file"),
        Row("pose", Pose, "Finds where markers or a board are in space, for a 3D scene.", "poses", _POSE),
        # motion
        Row("find_motion", FindMotion, "Finds what moved since an earlier picture.", "motion", _MOTION, followed="motion"),
        Row("optical_flow", OpticalFlow, "Measures the motion of each pixel since an earlier picture.", "flow", _FLOW),
        # faces
        Row("find_faces", FindFaces, "Finds faces, with eyes, nose and mouth.", "faces", _FACE, followed="faces"),
        # filtering
        Row("filter", FilterSteps, "Changes images by a list of steps: blur, levels, edges, threshold and others.", item="file"),
        # geometry
        Row("crop", Crop, "Cuts images: a part, without plain edges, to proportions.", item="file"),
        Row("rotate", Rotate, "Turns and mirrors images.", item="file"),
        Row("warp", Warp, "Bends images by four corners: a flat thing made square, or a corner pin.", item="file"),
        # compositing
        Row("overlay", Overlay, "Lays a picture or a text on images.", item="file"),
        Row("contact_sheet", ContactSheet, "Puts many images on one sheet, with their names.", item="file"),
        # tuning
        Row("tune", Tune, "Finds settings for find_circles by examples.", "tuned", _TUNED, ("settings",), presets="find_circles"),
        Row("sweep", Sweep, "Tries an operation with several values of its parameters, on one sheet.", "sweep", _CELL, _CELL_TEXTS),
        # video
        Row("read_video", ReadVideo, "Takes frames out of a video, as images.", "frames", _FRAME, item="file"),
        Row("make_video", MakeVideo, "Makes a video of images.", item="file"),
        # track
        Row("track", Track, "Follows things in a live picture: each keeps its id.", "tracks", TRACK, live=True),
        # convert
        Row("convert", Convert, "Reads images, resizes them if asked, and writes them in another format.", item="file"),
    )
)
