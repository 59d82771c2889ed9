"""Members that go around a module: what their Linen and NNX layers share."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxdrop._functional.drop_path_subset import choose_examples, on_subset
from jaxdrop._functional.token_skip import token_skip


def with_mode(options: dict[str, Any], deterministic: Any) -> dict[str, Any]:
    """Add the mode that the module inside is called with; None for nothing."""
    return options if deterministic is None else options | {"deterministic": deterministic}


def over_examples(
    branch: Callable[..., Any], /, *args: Any, **options: Any
) -> Callable[..., jax.Array]:
    """Return ``drop_path_subset`` of a branch that takes more than the examples, for ``call``."""

    def drop(key: Any, x: Any, rate: Any, deterministic: Any) -> jax.Array:
        x, kept = choose_examples(key, x, rate, deterministic)
        return on_subset(functools.partial(branch, **options), x, kept, *args)

    return drop


def over_tokens(layers: Callable[..., Any], /, **options: Any) -> Callable[..., jax.Array]:
    """Return ``token_skip`` of layers that take more than tokens and positions, for ``call``."""

    def skip(key: Any, x: Any, rate: Any, **given: Any) -> jax.Array:
        return token_skip(key, functools.partial(layers, **options), x, rate, **given)

    return skip
