"""find_dropouts: the dropouts of an NNX model, with their paths."""

from collections.abc import Iterator
from typing import Any

from flax import nnx

from jaxdrop.surgery._kinds import is_dropout, kind_of
from jaxdrop.surgery._where import Path, Where, check_where, everywhere, nothing_chosen


def find_dropouts(model: nnx.Module, where: Where = everywhere) -> Iterator[tuple[Path, Any]]:
    """Yield (path, module) for each dropout, flax's or jaxdrop's, each of them once.

    A ``MultiHeadAttention`` with a ``dropout_rate`` above 0 is one of them.

    Args:
      model: an NNX model.
      where: predicate on path and module; a path is a tuple of attribute names and list indices.

    Raises:
      TypeError: if the model is not an NNX module.

    >>> from flax import nnx
    >>> from jaxdrop import surgery
    >>> model = nnx.Sequential(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.Dropout(0.5))
    >>> [path for path, _ in surgery.find_dropouts(model)]
    [('layers', 1)]
    """
    check_where(where)
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"got {type(model).__name__}, expected a flax.nnx module; for Linen there are "
            "surgery.replaced and surgery.inserted"
        )
    for path, module in nnx.iter_modules(model):
        if is_dropout(module) and where(path, module):
            yield path, module


def choose_dropouts(model: nnx.Module, where: Where) -> list[tuple[Path, Any]]:
    """Return what ``find_dropouts`` finds; that it finds nothing is an error."""
    check_where(where)
    found = list(find_dropouts(model))
    chosen = [(path, module) for path, module in found if where(path, module)]
    if not chosen:
        there = [(path, kind_of(module)) for path, module in found]
        raise nothing_chosen("dropout", "the dropouts of the model are", there)
    return chosen
