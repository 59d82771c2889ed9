"""The loss function: called with the arguments it takes, what it returns checked and split."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdrop.training._metrics import check_names
from jaxdrop.training._state import TrainState

_FORMS = "expected loss, (loss, metrics) or (loss, metrics, changed) with metrics in a dict"


def takes_step(loss_fn: Callable[..., Any]) -> bool:
    """Say whether a loss function has a parameter named step besides its first three."""
    if isinstance(loss_fn, functools.partial) and "step" in loss_fn.keywords:
        return False  # it is bound already
    try:
        parameters = inspect.signature(loss_fn).parameters
    except (TypeError, ValueError):  # some functions written in C have none
        return False
    if "step" not in parameters:
        return False
    kind = parameters["step"].kind
    by_name = kind is inspect.Parameter.KEYWORD_ONLY
    fourth = kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and list(parameters).index("step") > 2
    return by_name or fourth


def call_loss(
    loss_fn: Callable[..., Any], state: TrainState, params: Any, batch: Any, *, with_step: bool
) -> tuple[jax.Array, dict[str, Any], Any]:
    """Return the loss, the metrics, and the state's collections as the loss function left them.

    Raises:
      TypeError, ValueError: if it returned anything else than loss, (loss, metrics) or (loss,
        metrics, changed), or left out collections that the model may have changed.
    """
    key = state.step_key()
    bound = state.bind(params, key=key)
    more = {"step": state.step} if with_step else {}
    # An NNX model carries its own collections, and Linen modules in it carry theirs.
    linen = isinstance(bound, Mapping)
    with changeable({*state.collections, "batch_stats"} if linen else set()) as left_open:
        loss, metrics, changed = _parts(loss_fn(bound, batch, key, **more))
    if left_open and changed is None:
        raise ValueError(
            f"the model was free to change the collections {sorted(left_open)}, and the loss "
            "function did not return them, so that they would never change: return (loss, metrics, "
            "changed), with changed from y, changed = apply(..., mutable=[...]), or {} to leave "
            "them as they are"
        )
    return loss, metrics, state.collect(bound, changed or {})


@contextmanager
def changeable(names: set[str]) -> Iterator[set[str]]:
    """Yield a set that fills with those of the names that Linen modules hold and may change.

    It sees the calls within the context, but not those of functions that jit has traced before.
    """
    found: set[str] = set()

    def look(method: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        result = method(*args, **kwargs)
        module = context.module
        if module.scope is not None and not module.scope.path:  # which holds those below it
            found.update(
                name for name in names & set(module.variables) if module.is_mutable_collection(name)
            )
        return result

    with nn.intercept_methods(look):
        yield found


def _parts(returned: Any) -> tuple[jax.Array, dict[str, Any], Mapping[str, Any] | None]:
    """Return (loss, metrics, changed collections or None) of what a loss function returned."""
    match returned:
        case (loss, Mapping() as metrics, Mapping() as changed):
            return _loss(loss), _metrics(metrics), changed
        case (loss, Mapping() as metrics):
            return _loss(loss), _metrics(metrics), None
        case tuple() | list():
            kinds = ", ".join(map(_kind, returned))
            raise TypeError(f"the loss function returned ({kinds}), {_FORMS}")
    return _loss(returned), {}, None


def _loss(loss: Any) -> Any:
    if not _is_array(loss):
        raise TypeError(f"the loss function returned {_kind(loss)}, {_FORMS}")
    if jnp.shape(loss):
        raise ValueError(
            f"the loss function returned a loss of shape {jnp.shape(loss)}, expected one number, "
            "such as its mean"
        )
    if not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        raise TypeError(
            f"the loss function returned a loss of dtype {jnp.result_type(loss)}, expected a "
            "floating number"
        )
    return loss


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    check_names(metrics, "loss_fn", ("loss",))
    arrays = {k: v[...] if isinstance(v, nnx.Variable) else v for k, v in metrics.items()}
    for name, value in arrays.items():
        if not _is_array(value):
            way_out = ""
            if isinstance(value, Mapping):
                way_out = "; collections that a step changed come third: (loss, metrics, changed)"
            raise TypeError(
                f"the loss function returned {_kind(value)} as the metric {name!r}, expected an "
                f"array{way_out}"
            )
    return arrays


def _is_array(value: Any) -> bool:
    return isinstance(value, (jax.Array, np.ndarray, np.generic, bool, int, float))


def _kind(value: Any) -> str:
    if _is_array(value) and not isinstance(value, (bool, int, float)):
        return f"array{list(jnp.shape(value))}"
    return type(value).__name__
