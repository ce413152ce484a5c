"""What the worker and its nodes know of Dask distributed: that it is an extra, its certificates, and our names in a cluster."""

from __future__ import annotations

import contextlib
import logging
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker import extras
from worker.errors import Unavailable

if TYPE_CHECKING:
    from distributed.security import Security

log = logging.getLogger(__name__)

#: Our name in the cluster.
TOPIC = "td-image-worker"
#: Under which a node tells the scheduler what it is.
INFORMATION = "td_image_worker"
_PACKAGES = {
    "OpenCV": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "NumPy": ("numpy",),
    "Dask": ("distributed",),
}


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM form, as Dask names them. Without them nothing is encrypted, and anybody who reaches the scheduler can run code."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.ca and self.cert and self.key)


#: An open connection.
NO_CERTIFICATES = Certificates()


def resource_of(version: str) -> str:
    """What a node has as many of as tasks may run on it at a time. Another major version has another, so it gets no task.

    >>> resource_of("1.4.2")
    'td-image-worker-1-slot'
    """
    return f"{TOPIC}-{version.partition('.')[0]}-slot"


def security(certificates: Certificates) -> Security | None:
    """What Dask wants to have of it; None without certificates.

    Raises:
        Unavailable: the extra is not installed.
    """
    distributed = library()
    if not certificates:
        return None
    found: Security = distributed.Security(
        tls_ca_file=str(certificates.ca),
        tls_client_cert=str(certificates.cert),
        tls_client_key=str(certificates.key),
        tls_worker_cert=str(certificates.cert),
        tls_worker_key=str(certificates.key),
        tls_scheduler_cert=str(certificates.cert),
        tls_scheduler_key=str(certificates.key),
        require_encryption=True,
    )
    return found


def library() -> Any:
    """Dask distributed. It is imported only by those that use a cluster.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise Unavailable(
            f"A cluster needs Dask distributed, which is not installed ({error}).", f"Install it: {extras.install('cluster')}."
        ) from None
    import dask

    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})  # the files of a task are part of what Dask calls its graph
    if not log.isEnabledFor(logging.DEBUG):  # what a lost connection means is said here in a sentence; there it is a traceback
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


def versions(version: str) -> str:
    """Of everything whose version matters, in one line; ours is given."""
    found = [f"td-image-worker {version}", f"Python {platform.python_version()}"]
    for name, packages in _PACKAGES.items():
        for package in packages:
            with contextlib.suppress(PackageNotFoundError):
                found.append(f"{name} {installed(package)}")
                break
    return ", ".join(found)


def differences(theirs: str, ours: str) -> str:
    """What of two such lines is not the same; "" if all is. Of Python the third number does not matter.

    >>> differences("td-image-worker 0.1.0, Python 3.12.1, OpenCV 4.10.0", "td-image-worker 0.1.0, Python 3.11.7, OpenCV 5.0.0")
    'Python 3.12.1 (here 3.11.7), OpenCV 4.10.0 (here 5.0.0)'
    >>> differences("Python 3.11.2, NumPy 2.4.6", "Python 3.11.7, NumPy 2.4.6")
    ''
    """
    here = _by_name(ours)
    found = []
    for name, there in _by_name(theirs).items():
        mine = here.get(name, "none")
        parts = 2 if name == "Python" else None
        if there.split(".")[:parts] != mine.split(".")[:parts]:
            found.append(f"{name} {there} (here {mine})")
    return ", ".join(found)


def _by_name(line: str) -> dict[str, str]:
    return {name: version for name, _, version in (word.rpartition(" ") for word in line.split(", "))}
