"""What goes wrong with a file that the worker keeps for itself."""

from __future__ import annotations


class StorageError(Exception):
    """The journal or a recording cannot be used. The text is a sentence for the operator."""
