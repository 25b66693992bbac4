"""The command `ml-platform`, also as `python -m ml_platform`."""

import atexit
import gc
import os
import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command."""
    # what imports make lives on: looking through it again and again takes a fifth of their time
    gc.set_threshold(50_000, 20, 50)
    status = 1
    outputs = [one for one in (sys.stdout, sys.stderr) if isinstance(one, TextIOWrapper)]  # not if it is closed
    for output in outputs:
        output.reconfigure(errors="backslashreplace")  # a letter that a terminal does not know is no failure

    def end() -> None:
        for output in outputs:
            output.flush()
        os._exit(status)

    # registered first, so that it comes last, when all is closed: freeing each object takes a twentieth of the time
    atexit.register(end)
    from ml_platform.cli import app

    try:
        app()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    else:
        status = 0


if __name__ == "__main__":
    main()
