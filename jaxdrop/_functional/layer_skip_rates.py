"""layer_skip_rates: rates of stochastic depth that grow exponentially, with depth and over time."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdrop._core.annotations import RateLike
from jaxdrop._core.checks import check_count
from jaxdrop._core.rate import check_rate


def layer_skip_rates(
    depth: int, max_rate: RateLike, *, progress: RateLike = 1.0
) -> tuple[Any, ...]:
    """Spread rates exponentially over the layers of a network, and over its training (LayerSkip).

    ``rates[l] = max_rate * (2**progress - 1) * (2**(l / (depth - 1)) - 1)``

    Args:
      depth: number of layers, 0 or more.
      max_rate: rate of the last layer at the end; a number, or a traced scalar.
      progress: how much of the training is done, 0 to 1: the paper's curriculum of training from
        scratch is ``step / (steps - 1)``, which may be traced. 1, for fine-tuning, leaves rates
        constant.

    Returns:
      A tuple of depth rates, below those of ``drop_path_rates`` between the ends. A single layer
      gets 0.

    Raises:
      TypeError: if depth is not an integer.
      ValueError: if depth is negative, or max_rate or progress is a known number outside [0, 1].

    LayerSkip drops a layer for each example apart and does not scale what is kept, so that layers
    may be left out afterwards; ``drop_path`` divides by ``1 - rate``, ``layer_drop`` decides for a
    whole batch and does not.

    Reference:
      Elhoushi et al., LayerSkip: Enabling Early Exit Inference and Self-Speculative Decoding, 2024.

    >>> import jaxdrop
    >>> [round(rate, 3) for rate in jaxdrop.layer_skip_rates(5, 0.2)]
    [0.0, 0.038, 0.083, 0.136, 0.2]
    >>> jaxdrop.layer_skip_rates(3, 0.2, progress=0.0)
    (0.0, 0.0, 0.0)
    """
    layers = check_count(depth, "depth", "the number of layers", at_least=0)
    high = check_rate(max_rate, "max_rate").value
    done = check_rate(progress, "progress").value
    for name, value in (("max_rate", high), ("progress", done)):
        if jnp.ndim(value):
            raise ValueError(f"got {name} of shape {jnp.shape(value)}, expected one number")
    scale = jnp.exp2(done) - 1 if isinstance(done, jax.Array) else 2.0**done - 1
    shares = [2.0 ** (n / (layers - 1)) - 1 if layers > 1 else 0.0 for n in range(layers)]
    return tuple(high * scale * share for share in shares)
