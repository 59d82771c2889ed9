"""figure.png: made, drawn by an experiment, and saved whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments._harness.result import whole_file


def save_figure(path: Path, draw: Callable[[Any, Any], None], result: Any) -> None:
    """Call ``draw(result, figure)`` and save the figure as a PNG, without a display.

    Raises:
      CannotRun: if it cannot be written.
    """
    from matplotlib.figure import Figure  # slow to import, and only needed here

    figure = Figure(layout="constrained", dpi=150)
    draw(result, figure)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi="figure", format="png", metadata={"Software": None})
