"""draw_reliability: a reliability diagram, on axes of matplotlib that the caller has made."""

from typing import Any

import numpy as np

from jaxdrop.mc._calibration import Reliability


def draw_reliability(axes: Any, diagram: Reliability, **options: Any) -> None:
    """Draw accuracy against confidence, a dot for each bin that is not empty, and the diagonal.

    A dot below the diagonal is of examples about which the model is too sure. Its area grows with
    the square root of the bin's share of the examples.

    Args:
      axes: of matplotlib, which jaxdrop itself neither needs nor imports.
      diagram: what ``reliability`` returns.
      options: for the line and its dots, as in ``axes.plot``: ``color``, ``label``.

    Raises:
      TypeError: if axes have no ``plot``, or diagram is no ``Reliability``.

    Reference:
      Guo et al., On Calibration of Modern Neural Networks, 2017, figure 1.

    >>> import jax.numpy as jnp
    >>> from matplotlib.figure import Figure
    >>> from jaxdrop import mc
    >>> p = jnp.array([[0.9, 0.1], [0.6, 0.4]])
    >>> axes = Figure().subplots()
    >>> mc.draw_reliability(axes, mc.reliability(p, jnp.array([0, 1])), label="network")
    >>> axes.get_ylabel()
    'accuracy'
    """
    if not hasattr(axes, "plot"):
        raise TypeError(
            f"got axes={axes!r:.60} of type {type(axes).__name__}, expected axes of matplotlib, "
            "such as matplotlib.pyplot.gca()"
        )
    if not isinstance(diagram, Reliability):
        raise TypeError(
            f"got diagram={diagram!r:.60} of type {type(diagram).__name__}, expected what "
            "jaxdrop.mc.reliability returns"
        )
    count, confidence, accuracy = (np.asarray(part) for part in diagram)
    kept = count > 0
    share = count[kept] / count.sum()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    (line,) = axes.plot(confidence[kept], accuracy[kept], **{"linewidth": 1.5, **options})
    axes.scatter(confidence[kept], accuracy[kept], s=12 + 160 * share**0.5, color=line.get_color())
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.04))
