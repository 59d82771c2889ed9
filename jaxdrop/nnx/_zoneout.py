"""Zoneout for any NNX RNN cell."""

from typing import Any

from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._flax.call import known_mode, known_rate, needs_key
from jaxdrop._functional.zoneout import zoneout_carry
from jaxdrop.nnx._cell import CellWrapper
from jaxdrop.nnx._rate import keep_rate, read_rate


class Zoneout(CellWrapper):
    """Let units of an RNN cell's state keep their previous value at random: ``zoneout``.

    ``h[t] = where(m, cell(h[t - 1], x), h[t - 1])``, ``P(m = 0) = rate``

    ``nnx.RNN(Zoneout(nnx.LSTMCell(3, 64, rngs=rngs), (0.5, 0.05), rngs=rngs))``

    Every step takes a key from the stream, which ``nnx.RNN`` carries along; so leave the stream out
    of its ``broadcast_rngs``, or the same units would never be updated.

    Inside ``shard_map``: as for ``RecurrentDropout``.

    Args:
      cell: the cell, any that ``nnx.RNN`` takes.
      rate: probability that a unit keeps its value; one number, or one for each entry of the carry,
        (c, h) for an LSTM. The paper uses 0.5 for c and 0.05 for h.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs or a RngStream to fork, or None to give a key in each call.
      mesh_axes: inside ``shard_map``, the mesh axes that split a step's state (batch,
        features), as in ``jaxdrop.dropout``.

    Reference:
      Krueger et al., Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations, 2017.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> rngs = nnx.Rngs(0)
    >>> cell = jaxdrop.nnx.Zoneout(nnx.LSTMCell(3, 4, rngs=rngs), (0.5, 0.5), rngs=rngs)
    >>> y = nnx.RNN(cell, rngs=rngs)(jnp.ones((2, 5, 3)))
    >>> y.shape, bool((y[:, 1:] == y[:, :-1]).any())  # some units kept their value
    ((2, 5, 4), True)
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        rate: Any = 0.1,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        mesh_axes: MeshAxes = (),
    ):
        self._keep_cell(cell)
        rate = keep_rate(rate)
        # NNX has to be told about variables in a tuple.
        several = isinstance(rate, (tuple, list)) and any(map(nnx.is_data, rate))
        self.rate = nnx.data(rate) if several else rate
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(
        self, carry: Any, inputs: Any, *, deterministic: Any = None, rngs: Any = None
    ) -> tuple[Any, Any]:
        """Run one step; ``rngs`` may be a key, another one at each step."""
        mode, rate = known_mode(self._mode(deterministic)), known_rate(read_rate(self.rate))
        key = self._key(rngs) if needs_key(mode, rate) else None
        new, y = self.cell(carry, inputs)
        return zoneout_carry(
            key, new, y, rate, previous=carry, deterministic=mode, mesh_axes=self.mesh_axes
        )
