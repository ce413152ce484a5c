"""TD Image Worker. This package imports nothing, so that every start is as cheap as the part that is needed."""

__version__ = "0.1.0"
