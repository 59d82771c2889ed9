"""epoch_order: in which order an epoch visits the rows, as a function of (seed, epoch).

``StepRows`` are the rows of the steps of a run, whose orders are drawn before they are needed.
"""

import functools

import jax
import numpy as np

from jaxdrop._core.bits import random_bits
from jaxdrop._core.checks import check_count

_TAG = 0x6F726472  # "ordr": keeps these keys apart from a dropout key of the same seed


def epoch_order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """Return the rows in the order in which an epoch visits them.

    ``argsort of random_bits(fold_in(fold_in(key(seed), tag), epoch), (rows,))``

    Args:
      seed: the run's seed, 0 <= seed < 2**32.
      epoch: number of the epoch, 0 <= epoch < 2**32.
      rows: how many there are, at least 1.

    Returns:
      int64 array of shape (rows,), a permutation of 0 ... rows - 1. It depends on nothing but the
      arguments: not on the batch size, the devices, or how often a run was resumed. Rows that draw
      the same 32 bits, as a pair does in one case of 2**32, stay in their order.

    Raises:
      TypeError, ValueError: if an argument is no integer, or out of its range.

    >>> import jaxdrop.training as jt
    >>> sorted(jt.epoch_order(0, 3, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if check_count(value, name, "below 2**32", at_least=0) >= 2**32:
            raise ValueError(f"got {name}={value}, expected a whole number below 2**32")
    check_count(rows, "rows", "how many there are")
    return _sorted(_draw(_key(seed), epoch, rows))


class StepRows:
    """Call ``step_rows(number, count)`` for the numbers of the rows of some steps: (count, batch).

    An order is drawn on the device, which first does what it was handed before. So it is asked for
    early: what is waited for at the beginning of an epoch has long been there.

    Args:
      seed, rows: as for ``epoch_order``.
      batch_size: rows in a step; what does not fill one is left out.
      total: steps of the run.
      ahead: how many steps early an order is asked for.
    """

    def __init__(self, seed: int, rows: int, batch_size: int, total: int, ahead: int):
        self._key, self._rows, self._batch_size = _key(seed), rows, batch_size
        self._steps, self._total, self._ahead = rows // batch_size, total, ahead
        self._drawn: dict[int, jax.Array] = {}
        self._orders: dict[int, np.ndarray] = {}

    def __call__(self, number: int, count: int) -> np.ndarray:
        last = min(number + count + self._ahead, self._total) - 1
        for epoch in range(number // self._steps, last // self._steps + 1):
            if epoch not in self._drawn and epoch not in self._orders:
                self._drawn[epoch] = _draw(self._key, epoch, self._rows)
        numbers = np.stack([self._of(n) for n in range(number, number + count)])
        over = [epoch for epoch in self._orders if epoch < (number + count) // self._steps]
        for epoch in over:
            del self._orders[epoch]
        return numbers

    def _of(self, number: int) -> np.ndarray:
        epoch, batch = divmod(number, self._steps)
        if epoch not in self._orders:
            self._orders[epoch] = _sorted(self._drawn.pop(epoch))
        return self._orders[epoch][batch * self._batch_size :][: self._batch_size]


def _key(seed: int) -> jax.Array:
    # On a device of this process, even within the mesh of several.
    with jax.default_device(jax.local_devices()[0]):
        return jax.random.fold_in(jax.random.key(seed), np.uint32(_TAG))


def _draw(key: jax.Array, epoch: int, rows: int) -> jax.Array:
    with jax.default_device(jax.local_devices()[0]):
        return _bits(key, np.uint32(epoch), rows)


@functools.partial(jax.jit, static_argnums=2)
def _bits(key: jax.Array, epoch: jax.Array, rows: int) -> jax.Array:
    return random_bits(jax.random.fold_in(key, epoch), (rows,))


def _sorted(bits: jax.Array) -> np.ndarray:
    return np.argsort(np.asarray(bits), kind="stable")
