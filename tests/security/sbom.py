"""The bill of materials of an installed worker, as CycloneDX 1.5 (JSON): every distribution that it needs, with version and licence.

    python -m tests.security.sbom > sbom.json       with the Python in which the worker is installed

Only this package and what it needs without extras is listed, as it is installed here; nothing is asked of the net. Libraries that a wheel
brings along (OpenCV: libjpeg-turbo, libpng, libtiff, libwebp, OpenJPEG, libavif, zlib) stand in the wheel's own licence files, not here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def needed(name: str) -> Iterator[Distribution]:
    """A distribution and all that it needs here, each once. What is for another system or an extra is not installed, or not needed."""
    waiting, seen = [name], set()
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(key)
        except PackageNotFoundError:  # for another system
            continue
        yield found
        for line in found.requires or ():
            needs, _, marker = line.partition(";")
            if "extra" not in marker and (match := NAME.match(needs)):
                waiting.append(match[0])


def component(found: Distribution) -> dict[str, object]:
    """One entry."""
    about = found.metadata
    name, version = about["Name"], found.version
    entry: dict[str, object] = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name.lower()}@{version}"}
    licence = about.get("License-Expression") or (about.get("License") or "").partition("\n")[0]
    if licence:
        entry["licenses"] = [{"license": {"name": licence}}]
    return entry


def bill(name: str = "td-image-worker") -> dict[str, object]:
    """The whole document."""
    own, *others = needed(name)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**component(own), "type": "application"}},
        "components": sorted((component(one) for one in others), key=lambda entry: str(entry["name"]).lower()),
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    print()
