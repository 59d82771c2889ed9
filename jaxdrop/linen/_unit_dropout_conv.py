"""UnitDropoutConv as a Linen module."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._functional.convolution import check_window
from jaxdrop._functional.unit_dropout_conv import unit_dropout_conv
from jaxdrop.linen._unit_chain import UnitChain


class UnitDropoutConv(UnitChain):
    """Convolutions whose dropped hidden channels are not computed: ``unit_dropout_conv``.

    Its parameters are those of ``flax.linen.Conv`` layers in a compact module: ``Conv_0``,
    ``Conv_1`` and so on, with the same first values, so that a checkpoint of either fits both.

    Attributes:
      features: numbers of channels of the layers, two or more; the last layer's are all there.
      kernel_size: the window of every layer, one integer per spatial dimension; of one dimension,
        an integer.
      rate: share of the hidden channels to drop; a Python number, or one for each hidden layer.
      strides, padding: of every layer, as in ``jaxdrop.unit_dropout_conv``.
      the others: as in ``UnitDropoutMLP``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> convs = jaxdrop.linen.UnitDropoutConv((8, 3), (3, 3), 0.5, deterministic=False)
    >>> y, variables = convs.init_with_output(jax.random.key(0), jnp.ones((2, 5, 5, 4)))
    >>> y.shape, sorted(variables["params"]), variables["params"]["Conv_1"]["kernel"].shape
    ((2, 5, 5, 3), ['Conv_0', 'Conv_1'], (3, 3, 8, 3))
    """

    features: Sequence[int]
    kernel_size: int | Sequence[int]
    rate: Any
    _: dataclasses.KW_ONLY
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layers; ``rng`` takes the place of a key from ``make_rng``."""
        return self._apply(
            unit_dropout_conv,
            "Conv",
            check_window(self.kernel_size, "UnitDropoutConv"),
            self.features,
            inputs,
            self.rate,
            deterministic,
            rng,
            strides=self.strides,
            padding=self.padding,
        )
