"""The command `ml-platform`, also as `python -m ml_platform`."""

import atexit
import gc


def main() -> None:
    """Run the command."""
    # what imports make lives on: looking through it again and again takes a fifth of their time
    gc.set_threshold(50_000, 20, 50)
    # nor is there anything to collect of it when the process ends
    atexit.register(gc.freeze)
    from ml_platform.cli import app

    app()


if __name__ == "__main__":
    main()
