"""identity: which sweep it is, by digests of its function and its shared arguments."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import jaxdrop
from jaxdrop.training._mesh import path_name
from jaxdrop.training._typed_keys import is_key


def identity(
    train: Callable[..., Any], run: Mapping[str, Any], shared: Mapping[str, Any]
) -> dict[str, Any]:
    """Return digests of train and of its shared arguments, as JSON values.

    Of train it is a digest of the StableHLO that JAX makes of one run, with all constants, so that
    neither the function's name and source layout matter, nor how the runs are vectorized, divided
    into chunks or spread over a mesh. The text is the same in every process, for the same versions
    and platform, which are in ``made_with``.

    Args:
      train, shared: as in ``sweep``; train is traced once.
      run: the arguments of one run.
    """
    lowered = jax.jit(train).trace(**run, **shared).lower()
    _, _, program = lowered.as_text().partition("\n")  # the first line has the function's name
    return {
        "shared": {
            path_name(path): array_digest(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(dict(shared))
        },
        "train": _short(program.encode()),
        "made_with": {
            "jax": jax.__version__,
            "jaxdrop": jaxdrop.__version__,
            "platform": jax.default_backend(),
        },
    }


def array_digest(array: Any) -> str:
    """Return a digest of an array's dtype, shape and bytes; of typed keys, those of their words."""
    values = np.asarray(jax.random.key_data(array) if is_key(array) else array)
    return _short(f"{values.dtype.str} {values.shape} ".encode(), values.tobytes())


def _short(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]
