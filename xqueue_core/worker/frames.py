"""A traceback as the user is to see it: it begins with the user's own code."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

_HERE = f"{Path(__file__).parents[1]}{os.sep}"


def own_frames(error: BaseException) -> TracebackType | None:
    """The error's traceback without the frames of XQueue that led to the user's code.

    One without any of the user's code is left whole: what went wrong then is in XQueue.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return error.__traceback__ if trace is None else trace
