"""Eager calls: what was compiled once serves every later call of the same shapes, at any rate."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdrop
from scripts.members import Case
from tests.functional.over_members import RATE, over

COMPILED = "/jax/core/compile/backend_compile_duration"


class Count:
    """How often jax traced a Python function, and compiled a program."""

    traced: list[str]
    compiled: int

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.traced, self.compiled = [], 0

    def enter(self, frame: Any, event: str, arg: Any) -> None:
        """Note a call, as Python's profiler: jax does not report what a checkpoint traces."""
        code = frame.f_code
        if event == "call" and code.co_name.startswith("trace_to_jaxpr"):
            self.traced.append(str(frame.f_locals.get("fun", "")))

    def listen(self, event: str, duration_secs: float, **details: Any) -> None:
        self.compiled += event == COMPILED


@pytest.fixture
def count() -> Iterator[Count]:
    seen = Count()
    jax.config.update("jax_debug_key_reuse", False)  # which traces primitives to look for keys
    jax.monitoring.register_event_duration_secs_listener(seen.listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(seen.listen)
    jax.config.update("jax_debug_key_reuse", True)


def counted(count: Count, call: Callable[[], Any]) -> tuple[list[str], int]:
    count.reset()
    before = sys.getprofile()
    sys.setprofile(count.enter)
    try:
        jax.block_until_ready(call())
    finally:
        sys.setprofile(before)
    return count.traced, count.compiled


NOTHING: tuple[list[str], int] = ([], 0)


@pytest.mark.slow
@over()
def test_a_second_eager_call_neither_traces_nor_compiles(member: Case, count: Count) -> None:
    first, second = jax.random.key(0), jax.random.key(1)
    x = member.example()
    member.apply(first, x, RATE)
    assert counted(count, lambda: member.apply(second, x, RATE)) == NOTHING


def test_the_count_sees_a_call_that_traces_anew(count: Count) -> None:
    """A closure made in the call is traced each time, as in several members once."""
    key, x = jax.random.key(0), jnp.ones(3)

    def checkpoint() -> jax.Array:
        masked = jax.checkpoint(lambda k, x: x * jaxdrop.keep_mask(k, (3,), 0.5).astype(x.dtype))
        return masked(key, x)

    for call in (checkpoint, lambda: jax.jit(lambda x: jnp.sin(x) + 1)(x)):
        call()
        assert counted(count, call)[0]
    assert counted(count, lambda: jax.jit(lambda x: jnp.sin(x) + 1)(x))[1]


@pytest.mark.slow
@over(rated=True, traced_rate=True)
def test_a_sweep_over_host_rates_compiles_one_program(member: Case, count: Count) -> None:
    key, x = jax.random.key(0), member.example()
    member.apply(key, x, 0.5)
    rates = np.linspace(0.01, 0.99, 1000 if member.name == "dropout" else 20).tolist()
    assert counted(count, lambda: [member.apply(key, x, rate) for rate in rates]) == NOTHING


@pytest.mark.slow
def test_a_sweep_over_the_rate_of_concrete_dropout_compiles_one_program(count: Count) -> None:
    key, x = jax.random.key(0), jnp.ones((4, 3))
    jaxdrop.concrete_dropout(key, x, 0.5)
    rates = np.linspace(0.01, 0.99, 1000).tolist()
    sweep = counted(count, lambda: [jaxdrop.concrete_dropout(key, x, rate) for rate in rates])
    assert sweep == NOTHING


@pytest.mark.slow
def test_the_programs_of_patch_dropout_are_as_many_as_its_shapes(count: Count) -> None:
    """Its rate is a shape: a sweep compiles for each number of tokens, and no more often."""
    key, x = jax.random.key(0), jnp.ones((2, 5, 3))
    for rate in (0.1, 0.3, 0.6, 0.9):
        jaxdrop.patch_dropout(key, x, rate)
    rates = np.linspace(0.01, 0.99, 100).tolist()
    sweep = counted(count, lambda: [jaxdrop.patch_dropout(key, x, rate) for rate in rates])
    assert sweep == NOTHING
