"""fast_attention: an attention function whose dropout draws by jaxdrop's generator."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

from jaxdrop._prng import fast_prng_impl


@functools.cache
def fast_attention(attention_fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return an attention function that draws its dropout mask from a fast key.

    Everything else is left to attention_fn: which weights share a decision, scaling, grouped
    queries, what is sown. Flax multiplies by ``keep / keep_prob`` there, so that a rate of 1 gives
    NaN; ``set_rates`` refuses it.

    Args:
      attention_fn: flax's ``dot_product_attention``, Linen's or NNX's, or one of the same
        arguments; ``dropout_rng`` by keyword, as flax's modules pass it.

    Returns:
      The function; the same one for the same attention_fn, so that nothing is compiled twice.
    """

    @functools.wraps(attention_fn)
    def attend(*args: Any, dropout_rng: Any = None, **kwargs: Any) -> Any:
        if dropout_rng is not None:
            data = jax.random.key_data(dropout_rng)
            dropout_rng = jax.random.wrap_key_data(data[..., :2], impl=fast_prng_impl)
        return attention_fn(*args, dropout_rng=dropout_rng, **kwargs)

    # Linen's attention looks at the signature for what it may pass.
    attend.__signature__ = inspect.signature(attention_fn)  # type: ignore[attr-defined]  # mypy knows it of classes only
    return attend
