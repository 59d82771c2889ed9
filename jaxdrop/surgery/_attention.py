"""fast_attention: an attention function whose dropout draws by jaxdrop's generator."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax

from jaxdrop._core.prng import fast_prng_impl


@dataclasses.dataclass(frozen=True)  # to be equal to another, and to be pickled
class fast_attention:
    """An attention function that draws its dropout mask from a fast key.

    Everything else is left to attention_fn: which weights share a decision, scaling, grouped
    queries, what is sown. Flax multiplies by ``keep / keep_prob`` there, so a rate of 1 gives NaN;
    ``set_rates`` refuses it. Two of the same attention_fn are equal, so nothing is compiled twice;
    it can be pickled if attention_fn can.

    Args:
      attention_fn: flax's ``dot_product_attention``, Linen's or NNX's, or one that takes the
        same arguments, ``dropout_rng`` by keyword as flax's modules pass it.
    """

    attention_fn: Callable[..., Any]

    def __call__(self, *args: Any, dropout_rng: Any = None, **kwargs: Any) -> Any:
        """Call attention_fn with the same key as one of our generator."""
        if dropout_rng is not None:
            data = jax.random.key_data(dropout_rng)
            dropout_rng = jax.random.wrap_key_data(data[..., :2], impl=fast_prng_impl)
        return self.attention_fn(*args, dropout_rng=dropout_rng, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        # Linen's attention looks at the signature for what it may pass.
        return inspect.signature(self.attention_fn)
