"""Zoneout as a Flax Linen module."""

import dataclasses
from typing import Any

import jax

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._flax.call import known_mode, known_rate, needs_key
from jaxdrop._functional.zoneout import zoneout_carry
from jaxdrop.linen._cell import CellWrapper


class Zoneout(CellWrapper):
    """Let units of an RNN cell's state keep their previous value at random: ``zoneout``.

    ``h[t] = where(m, cell(h[t - 1], x), h[t - 1])``, ``P(m = 0) = rate``

    ``nn.RNN(Zoneout(nn.LSTMCell(64), (0.5, 0.05), deterministic=False),
    split_rngs={"params": False, "zoneout": True})``

    ``"zoneout": True`` draws a new mask at each step, which zoneout needs: with False, the same
    units would never be updated. Parameters are where the bare cell has them.

    Inside ``shard_map``: as for ``RecurrentDropout``.

    Attributes:
      cell: the cell, any that ``nn.RNN`` takes; under ``nn.remat`` or ``nn.jit`` its output counts
        as another array than h and is left alone, so apply them to Zoneout instead.
      rate: probability that a unit keeps its value; one number, or one for each entry of the carry,
        (c, h) for an LSTM. The paper uses 0.5 for c and 0.05 for h.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      mesh_axes: inside ``shard_map``, the mesh axes that split a step's state (batch,
        features), as in ``jaxdrop.dropout``.

    Reference:
      Krueger et al., Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations, 2017.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> cell = jaxdrop.linen.Zoneout(nn.LSTMCell(4), (0.5, 0.5), deterministic=False)
    >>> rnn, x = nn.RNN(cell, split_rngs={"params": False, "zoneout": True}), jnp.ones((2, 5, 3))
    >>> rngs = {"params": jax.random.key(0), "zoneout": jax.random.key(1)}
    >>> y, _ = rnn.init_with_output(rngs, x)
    >>> y.shape, bool((y[:, 1:] == y[:, :-1]).any())  # some units kept their value
    ((2, 5, 4), True)
    """

    rate: Any = 0.1
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "zoneout"
    mesh_axes: MeshAxes = ()

    def __call__(
        self, carry: Any, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> tuple[Any, Any]:
        """Run one step; ``rng``, another at each step, takes the place of ``make_rng``'s key."""
        mode = known_mode(self._mode(deterministic))
        rate, key = known_rate(self.rate), rng
        if needs_key(mode, rate):
            key = self._step_key(rng, "True, so that every time step has its own mask")
        new, y = self.cell(carry, inputs)
        return zoneout_carry(
            key, new, y, rate, previous=carry, deterministic=mode, mesh_axes=self.mesh_axes
        )
