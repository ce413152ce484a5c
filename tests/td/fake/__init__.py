"""A stand-in for TouchDesigner, as strict as section 10 of the fact sheet demands: real UDP below, frames on command.

    td = TouchDesigner(year=2023)
    comp = td.root.create("baseCOMP", "project1")
    td.frame()                      # one step: delayed runs, CHOP cooks, callbacks
    td.until(lambda: ..., 20)       # frames until it is true, or a TimeoutError

What is unknown about the real one is hostile here: defaults are off, values repeat, callbacks come late, names differ between builds.
"""

from tests.td.fake.parameters import ParMode, tdAttributeError, tdError
from tests.td.fake.session import BUILD_YEARS, TouchDesigner

__all__ = ["BUILD_YEARS", "ParMode", "TouchDesigner", "tdAttributeError", "tdError"]
