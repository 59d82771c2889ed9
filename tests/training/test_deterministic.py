"""Deterministic kernels on a GPU: fit and sweep compile with the option, and nothing else changes.

XLA knows the option on every backend; on a CPU it changes no program. So the CPU stands in for a
GPU here: all that is faked is the name of the backend.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
import jaxdrop.training as jt
from jaxdrop.training import _deterministic, _evaluate, _sweep_vectorize
from jaxdrop.training._dataset import Dataset
from jaxdrop.training._deterministic import OPTION, TRITON, compiler_options, said_in_xla_flags
from tests.training import small_run as small

ON = {OPTION: True, TRITON: False}


@pytest.fixture
def as_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A function after which the CPU passes for a GPU, in a process without flags."""

    def begin() -> None:
        monkeypatch.setenv("XLA_FLAGS", "")
        monkeypatch.setattr(_deterministic, "jax", SimpleNamespace(default_backend=lambda: "gpu"))
        _sweep_vectorize.make_chunk.cache_clear()

    yield begin
    _sweep_vectorize.make_chunk.cache_clear()


def two_devices() -> jax.sharding.Mesh:
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((2,), ("data",), axis_types=auto, devices=jax.devices()[:2])


def small_sweep(**options: Any) -> Any:
    def train(key: Any, rate: Any, x: Any) -> Any:
        def step(w: Any, key: Any) -> Any:
            return w - 0.1 * jnp.mean(jaxdrop.dropout(key, x @ x.T, rate)), None

        return jax.lax.scan(step, 1.0, jax.random.split(key, 5))[0]

    axes = {"key": jax.random.split(jax.random.key(0), 2), "rate": jnp.array([0.1, 0.5])}
    return jt.sweep(train, axes, shared={"x": small.X}, trial=train, **options)


@pytest.mark.parametrize(
    ("flags", "said", "option"),
    [
        ("", None, ON),
        ("--xla_gpu_autotune_level=4", None, ON),
        (f"--{OPTION}=true", True, ON),
        (f"--a=1 --{OPTION}", True, ON),
        (f"--{TRITON}=false", None, ON),
        (f"--{TRITON}=true", None, {OPTION: True, TRITON: True}),
        (f"--{OPTION}=false --a=1", False, None),
        (f"--{OPTION}=true --{OPTION}=0", False, None),
        (f"--{OPTION}=false --{OPTION}=True", True, ON),
    ],
)
def test_the_last_of_the_flags_counts(
    flags: str, said: bool | None, option: Any, as_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert said_in_xla_flags() is said
    assert compiler_options() is None  # on a CPU
    as_gpu()
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert compiler_options() == option


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mesh"), [("linen", False), ("nnx", True)])
def test_fit_has_the_same_bits_with_the_option(kind: str, mesh: bool, as_gpu: Any) -> None:
    where = two_devices() if mesh else None
    state, lines = small.run(kind, mesh=where, epochs=1)
    as_gpu()
    again, lines_again = small.run(kind, mesh=where, epochs=1)
    assert small.same(state, again) and lines == lines_again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vectorize", "mesh"), [("vmap", False), ("vmap", True), ("map", True), ("auto", False)]
)
def test_a_sweep_has_the_same_bits_with_the_option(
    vectorize: Any, mesh: bool, as_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vectorize == "auto":  # which way is faster is not the same in every run
        monkeypatch.setattr(_sweep_vectorize.time, "perf_counter", lambda: 0.0)
    options = {"vectorize": vectorize, "mesh": two_devices() if mesh else None}
    alone = small_sweep(**options)
    as_gpu()
    np.testing.assert_array_equal(small_sweep(**options), alone)


@pytest.mark.slow
def test_a_folder_does_not_ask_for_the_kernels(tmp_path: Path, as_gpu: Any) -> None:
    alone = small_sweep(folder=tmp_path, chunk=2)
    as_gpu()
    (tmp_path / "chunk-00001.msgpack").unlink()
    np.testing.assert_array_equal(small_sweep(folder=tmp_path, chunk=2), alone)


def evaluation() -> Any:
    state, rows = small.linen_state(), Dataset(small.TEST, "test")
    return _evaluate.make_evaluation(small.linen_metric, rows, 16, None, state)(state)


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        lambda: small.run(metric_fn=None, test=None, epochs=1),
        lambda: small.run(metric_fn=None, test=None, epochs=1, mesh=two_devices()),
        evaluation,
        lambda: small_sweep(vectorize="vmap"),
        lambda: small_sweep(vectorize="map"),
        lambda: small_sweep(vectorize="map", mesh=two_devices()),
    ],
    ids=["step", "step on a mesh", "evaluation", "vmap", "map", "sweep on a mesh"],
)
def test_the_option_reaches_the_compiler(
    program: Callable[[], Any], as_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that XLA does not know is refused by it."""
    as_gpu()
    monkeypatch.setattr(_deterministic, "OPTION", "xla_gpu_no_such_ops")
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_gpu_no_such_ops"):
        program()
