"""UnitDropoutConv as an NNX module."""

from collections.abc import Sequence
from typing import Any

from flax import nnx

from jaxdrop._functional.convolution import check_window
from jaxdrop._functional.unit_dropout_conv import unit_dropout_conv
from jaxdrop.nnx._unit_chain import UnitChain


class UnitDropoutConv(UnitChain):
    """Convolutions whose dropped hidden channels are not computed: ``unit_dropout_conv``.

    ``layers`` is an ``nnx.List`` of ``flax.nnx.Conv``, so that a checkpoint of such a list fits.

    Args:
      in_features: number of input channels.
      features: numbers of channels of the layers, two or more; the last layer's are all there.
      kernel_size: the window of every layer, one integer per spatial dimension; of one dimension,
        an integer.
      rate: share of the hidden channels to drop; a Python number, or one for each hidden layer.
      strides, padding: of every layer, as in ``jaxdrop.unit_dropout_conv``.
      rngs: for the parameters, and forked for the choices.
      options: the others of ``UnitDropoutMLP``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> convs = jaxdrop.nnx.UnitDropoutConv(4, (8, 3), (3, 3), 0.5, rngs=nnx.Rngs(0))
    >>> convs(jnp.ones((2, 5, 5, 4))).shape, convs.layers[1].kernel.shape
    ((2, 5, 5, 3), (3, 3, 8, 3))
    """

    _function = staticmethod(unit_dropout_conv)

    def __init__(
        self,
        in_features: int,
        features: Sequence[int],
        kernel_size: int | Sequence[int],
        rate: Any,
        *,
        strides: int | Sequence[int] = 1,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.kernel_size = check_window(kernel_size, "UnitDropoutConv")
        self.strides = strides
        self.padding = padding
        super().__init__(in_features, features, rate, rngs=rngs, **options)

    def _layer(self, inputs: int, outputs: int, **options: Any) -> nnx.Conv:
        window, strides, padding = self.kernel_size, self.strides, self.padding
        return nnx.Conv(inputs, outputs, window, strides, padding=padding, **options)

    def _options(self) -> dict[str, Any]:
        return {"strides": self.strides, "padding": self.padding}
