"""Small pictures for the page, which come back as text, because nothing is to be written for them."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from worker.catalog.thumbnails import THUMBNAIL, Thumbnail
from worker.errors import UnsupportedFormat
from worker.operations.shapes import Detector, Found
from worker.pictures.pixels import Image, color, over_black, size_of, with_depth

QUALITY = 82


def thumbnail(image: Image, params: Thumbnail) -> Found:
    """The picture as a JPEG whose longest side is `params.size`, as base64 in the one text of its one row; its row is the size of `image`.

    Raises:
        UnsupportedFormat: OpenCV cannot encode it.
    """
    width, height = size_of(image)
    factor = params.size / max(width, height)
    small = with_depth(image, 8)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA))
    done, data = cv2.imencode(".jpg", color(over_black(small)), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UnsupportedFormat(f"An image of {width}x{height} pixels has no thumbnail.")
    return Found(np.array([[width, height]], float), texts=((base64.b64encode(data.tobytes()).decode(),),))


OPERATIONS = {THUMBNAIL: Detector(thumbnail, None)}
