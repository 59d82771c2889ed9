"""epoch_order: in which order an epoch visits the rows, as a function of (seed, epoch)."""

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
    # On a device of this process, even within the mesh of several.
    with jax.default_device(jax.local_devices()[0]):
        key = jax.random.fold_in(jax.random.key(seed), np.uint32(_TAG))
        bits = np.asarray(random_bits(jax.random.fold_in(key, np.uint32(epoch)), (rows,)))
    return np.argsort(bits, kind="stable")
