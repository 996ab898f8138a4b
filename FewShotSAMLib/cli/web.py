"""`web`: the workflow in a browser."""

from __future__ import annotations

import argparse
import importlib.util

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web.options import web_options

INSTALL = "pip install 'trame-slicer[standalone]==2.0.0'"


def web(options: argparse.Namespace) -> int:
    """`fewshotsam web`."""
    if importlib.util.find_spec("trame_slicer") is None:
        raise BadInputError(
            "The browser app needs trame-slicer, which is not installed in this Python.",
            f"Run “make web”, or in an environment of its own: {INSTALL}",
        )
    chosen = web_options(
        options.volume, options.data, options.host, options.port, options.python, not options.no_browser
    )
    from FewShotSAMLib.web.server import serve

    serve(chosen, lambda line: print(line, flush=True))
    return 0
