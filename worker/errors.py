"""Every way in which a packet or a job can fail: one class each, with the code that goes over the wire.

The class docstring is the default message. `code` reuses HTTP's numbers, so that 4xx is the sender's mistake and 5xx is
ours. `hint` says what the reader can do about it, in one sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar


class WorkerError(Exception):
    """Something went wrong."""

    code: ClassVar[int] = 500
    word: ClassVar[str] = "internal"
    #: A transient error may go away by itself, so a job with `retries` is tried again after it.
    transient: ClassVar[bool] = False

    def __init__(self, message: str = "", hint: str = "", *, advice: Callable[[], str] | None = None) -> None:
        """`advice` makes the end of the message once somebody reads it: most of the errors in a flood of bad packets are never sent."""
        self._message = message or inspect.getdoc(type(self)) or type(self).__name__
        self._advice = advice
        self.hint = hint
        super().__init__(self._message)

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""
        if self._advice is not None:
            self._message, self._advice = self._message + self._advice(), None
        return self._message

    def say_first(self, beginning: str) -> None:
        """Puts something in front of the sentence."""
        self._message = f"{beginning}: {self._message}"

    def __str__(self) -> str:
        return self.message


class ClientError(WorkerError):
    """The request cannot be carried out."""

    code = 400
    word = "arguments"


class DecodeError(ClientError):
    """The packet is not valid OSC."""

    word = "packet"

    def __init__(
        self, message: str = "", hint: str = "", *, advice: Callable[[], str] | None = None, address: str = "", job_id: str = ""
    ) -> None:
        """Also says which `address` was meant, and which job, as far as they could be read."""
        super().__init__(message, hint, advice=advice)
        self.address = address
        self.job_id = job_id


class UnknownAddress(DecodeError):
    """No command has this address."""

    code = 404
    word = "address"


class BadArguments(DecodeError):
    """The address is known, but its arguments are too few, too many or of the wrong type."""

    word = "arguments"


class ArgumentError(ClientError):
    """An argument is missing, unknown, of the wrong type or out of range."""


class UnfitImage(ArgumentError):
    """The operation cannot do with this image what it can do with others, for example because of its size."""


class TokenError(ClientError):
    """The token is missing or wrong."""

    code = 401
    word = "token"


class PathError(ClientError):
    """The path is outside the folders that this worker may use."""

    code = 403
    word = "path"


class UnknownOperation(ClientError):
    """No operation has this name."""

    code = 404
    word = "operation"


class MissingFile(ClientError):
    """The file does not exist or cannot be opened."""

    code = 404
    word = "file"


class UnknownJob(ClientError):
    """No job has this id."""

    code = 404
    word = "job"


class DeadlineExceeded(ClientError):
    """The job did not end within its timeout."""

    code = 408
    word = "timeout"


class IdReused(ClientError):
    """This id already belongs to a job with other content."""

    code = 409
    word = "id"


class Expired(ClientError):
    """The job waited in the queue for longer than its ttl_ms, or was replaced by a newer one; or the frame that it names was."""

    code = 410
    word = "expired"


class LimitExceeded(ClientError):
    """A limit of this worker was reached."""

    code = 413
    word = "limit"


class UnsupportedFormat(ClientError):
    """The file is not in a format that this worker can read or write."""

    code = 415
    word = "format"


class QueueFull(ClientError):
    """The queue is full."""

    code = 429
    word = "queue"


class Cancelled(ClientError):
    """The job was cancelled."""

    code = 499
    word = "cancelled"


class ServerError(WorkerError):
    """The worker failed."""


class InternalError(ServerError):
    """The operation failed inside the worker; the log says more."""


class Unavailable(ServerError):
    """This worker's installation cannot do this."""

    code = 501
    word = "unavailable"


class ChildDied(ServerError):
    """The child process that ran the job ended unexpectedly."""

    code = 502
    word = "child"


class NoChild(ServerError):
    """No child process can be started; the worker's log says why."""

    code = 502
    word = "no-child"
    transient = True


class NodeLost(ServerError):
    """The node of the cluster that ran the job was lost, and the job may have done some of its work."""

    code = 502
    word = "node"


class NoNode(ServerError):
    """The cluster has no node that could run the job."""

    code = 503
    word = "no-node"
    transient = True


class ResultLost(ServerError):
    """The child process could not send the result back."""

    code = 502
    word = "result"


class Draining(ServerError):
    """The worker is shutting down and takes no new jobs."""

    code = 503
    word = "draining"


class DiskFull(ServerError):
    """The disk is full or cannot be written."""

    code = 507
    word = "disk"
    transient = True
