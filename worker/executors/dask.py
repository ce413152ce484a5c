"""What the worker and its nodes know of Dask distributed: that it is an extra, its certificates, and our names in a cluster."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.errors import Unavailable

if TYPE_CHECKING:
    from distributed.security import Security

log = logging.getLogger(__name__)

#: Our name in the cluster.
TOPIC = "td-image-worker"
#: Under which a node tells the scheduler what it is.
INFORMATION = "td_image_worker"


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
            f"A cluster needs Dask distributed, which is not installed ({error}).", 'Install it: pip install "td-image-worker[cluster]".'
        ) from None
    import dask

    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})  # the files of a task are part of what Dask calls its graph
    warnings.filterwarnings("ignore", "Couldn't detect a suitable IP address", RuntimeWarning)  # as long as its name is not known
    if not log.isEnabledFor(logging.DEBUG):  # what a lost connection means is said here in a sentence; there it is a traceback
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed
