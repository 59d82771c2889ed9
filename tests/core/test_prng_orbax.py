"""Typed keys of fast_prng_impl go through Orbax, and through a name, like jax's own."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxdrop

ROOT = pathlib.Path(__file__).resolve().parents[2]
checkpoint = pytest.importorskip("orbax.checkpoint")  # an extra: experiments

RESTORE = """
import sys, jax, jaxdrop, orbax.checkpoint as checkpoint
with checkpoint.StandardCheckpointer() as checkpointer:
    tree = checkpointer.restore(sys.argv[1])
print(jax.random.key_impl(tree["dropout"]), jax.random.bits(tree["dropout"], (4,)).tolist())
"""


def fast(seed: int) -> jax.Array:
    return jax.random.key(seed, impl=jaxdrop.fast_prng_impl)


def save(path: pathlib.Path) -> dict[str, jax.Array]:
    tree = {"dropout": fast(52), "layers": jax.random.split(fast(51), 3)}
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
        checkpointer.wait_until_finished()
    return tree


def test_typed_keys_come_back_as_they_were(tmp_path: pathlib.Path) -> None:
    tree = save(tmp_path / "keys")
    with checkpoint.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(tmp_path / "keys", tree)
    for name, key in tree.items():
        assert restored[name].dtype == key.dtype
        got, want = (jax.random.key_data(k) for k in (restored[name], key))
        np.testing.assert_array_equal(got, want)
    got, want = (jax.random.bits(k["dropout"], (9,)) for k in (restored, tree))
    np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_another_process_restores_them(tmp_path: pathlib.Path) -> None:
    tree = save(tmp_path / "keys")
    done = subprocess.run(
        [sys.executable, "-P", "-c", RESTORE, str(tmp_path / "keys")],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    expected = f"jaxdrop_fast {jax.random.bits(tree['dropout'], (4,)).tolist()}"
    assert done.stdout.strip() == expected


def test_the_name_stands_for_the_implementation() -> None:
    key = jax.random.key(52, impl="jaxdrop_fast")
    assert key.dtype == fast(52).dtype
    np.testing.assert_array_equal(jax.random.bits(key, (9,)), jax.random.bits(fast(52), (9,)))
