"""CheckpointError: the one error of all that is saved."""

from pathlib import Path


class CheckpointError(RuntimeError):
    """What is saved cannot be used, or saving failed; the text says what to do."""


def not_writable(folder: Path, error: OSError) -> CheckpointError:
    """Return the refusal of a folder that nothing can be written to."""
    return CheckpointError(
        f"the folder {folder} cannot be written to ({error.strerror}); nothing was run. Choose "
        "another one"
    )
