"""What jaxdrop/_core/README.md says of its tricks: without one of them, something large is kept."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxdrop
from jaxdrop._core import bits, masked_scale
from scripts.proofs import hlo, stack

ROWS = WIDTH = 128


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Take a trick away; nothing that was compiled with it is used without it, or the reverse."""

    def take(owner: Any, name: str, instead: Any) -> None:
        monkeypatch.setattr(owner, name, instead)
        jax.clear_caches()

    yield take
    monkeypatch.undo()
    jax.clear_caches()


def saved(f: Callable[..., jax.Array]) -> int:
    """How many elements are kept for the backward pass of f."""
    pull = jax.vjp(lambda x: f(jax.random.key(0), x, 0.3), jnp.ones((ROWS, WIDTH)))[1]
    return sum(leaf.size for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array))


def buffers(f: Callable[..., jax.Array]) -> int:
    """How many masks and indices a scan over eight layers holds in memory, compiled for the CPU."""
    layers = stack.stack(lambda key, x: f(key, x, stack.RATE), scanned=True)
    arguments = stack.stack_arguments(ROWS, WIDTH, jnp.float32)
    text = jax.jit(layers).lower(*arguments).compile().as_text()
    assert text is not None
    return len(hlo.mask_buffers(text, ROWS * WIDTH))


@pytest.mark.slow
def test_the_primitive(without: Any) -> None:
    assert saved(jaxdrop.dropout) == 4

    def plain(*args: Any, form: Any, maps: Any, again: bool) -> jax.Array:
        return masked_scale._compute(*args, form=form, maps=maps, again=again)

    without(masked_scale._drop_p, "bind", plain)
    assert saved(jaxdrop.dropout) >= ROWS * WIDTH


@pytest.mark.slow
def test_the_operation_of_the_bits(without: Any) -> None:
    assert buffers(jaxdrop.alpha_dropout) == 0
    without(bits._bits_p, "bind", bits._compute)
    assert buffers(jaxdrop.alpha_dropout) > 0


def test_the_dependence_on_a_key_word(without: Any) -> None:
    assert buffers(jaxdrop.dropout) == 0
    weyl_index = bits.weyl_index

    def late(*args: Any) -> jax.Array:
        *others, start = args
        return weyl_index(*others) + start

    without(bits, "weyl_index", late)
    assert buffers(jaxdrop.dropout) > 0


def test_the_checkpoint(without: Any) -> None:
    assert saved(jaxdrop.alpha_dropout) < 16
    without(jax, "checkpoint", lambda f=None, **_: f if f else functools.partial(lambda f: f))
    assert saved(jaxdrop.alpha_dropout) >= ROWS * WIDTH
