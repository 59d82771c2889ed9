"""Assertions about dropout for your own tests, in the style of chex.

Each one raises an AssertionError that says what was observed, what was expected and how unlikely
that is. The statistical ones take ``false_alarm``, the probability of failing on a correct
implementation with a random key; with a fixed key a test always passes or always fails. A call
that could not fail on any input (too few elements, a rate at which nothing is dropped) raises a
ValueError instead of passing.

>>> import jax, jaxdrop
>>> from jaxdrop.testing import assert_independent_masks, assert_mask_rate
>>> a = jaxdrop.keep_mask(jax.random.key(0), (64, 256), 0.5)
>>> b = jaxdrop.keep_mask(jax.random.key(1), (64, 256), 0.5)
>>> assert_mask_rate(a, 0.5)
>>> assert_independent_masks(a, b)
>>> assert_mask_rate(a, 0.4)  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
AssertionError: the mask of shape (64, 256) keeps ... of 16384 elements, expected 9830.4 ...

They work inside compiled functions, too, such as a train step, if the outermost of these is wrapped
in ``chex.chexify``: what is static is checked while it is traced, values when it runs. Of a mask's
rate the program compares counts with exact bounds that are computed before it runs. The other
assertions need exact tails of numbers that only the run knows, or float64, and so the program calls
the host back. A check that could not fail is then an AssertionError, too.

>>> import chex
>>> @jax.jit
... def step(key, rate):
...     mask = jaxdrop.keep_mask(key, (64, 256), rate)
...     assert_mask_rate(mask, 0.5)
...     return mask.sum()
>>> checked = chex.chexify(step, async_check=False)
>>> kept = checked(jax.random.key(0), 0.5)
>>> checked(jax.random.key(0), 0.4)  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
AssertionError: [Chex] ... the mask of shape (64, 256) keeps ... of 16384 elements, expected ...

``jaxdrop.training.make_train_step(loss_fn, check=True)`` is wrapped already.
"""

from jaxdrop.testing._attention import assert_attention_dropout as assert_attention_dropout
from jaxdrop.testing._deterministic_eval import (
    assert_deterministic_eval as assert_deterministic_eval,
)
from jaxdrop.testing._gradient import assert_gradient_uses_mask as assert_gradient_uses_mask
from jaxdrop.testing._mask import assert_independent_masks as assert_independent_masks
from jaxdrop.testing._mask import assert_mask_rate as assert_mask_rate
from jaxdrop.testing._mean import assert_mean_preserved as assert_mean_preserved
