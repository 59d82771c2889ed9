"""Whether the device draws the bits that a CPU drew: digests of masks, words and products.

scripts/prove device --write    writes golden.json, on a CPU
"""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from scripts.proofs import report, stack
from scripts.proofs.device.piece import Size, found

GOLDEN = Path(__file__).with_name("golden.json")
BEYOND = (65537, 65536)  # 2**32 + 2**16 elements
LARGE = "row sums of 2**32 + 2**16 words"
SLOW = (  # on a CPU
    LARGE,
    "random_bits, 2**24 + 2**20",
    "keep_mask, rate 0.1, 2**24 + 2**20",
    "dropout and gradient, float16",
    "dropout and gradient, complex64",
)
DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "complex64")


def digest(array: Any) -> str:
    """Return a SHA-256 of the array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def row_sums(bits: jax.Array) -> jax.Array:
    """Add the words of each row, mod 2**32: a digest that the device itself can compute."""
    return bits.sum(axis=1, dtype=jnp.uint32)


def of_many_numbers(dtype: str) -> np.ndarray:
    """Drop numbers of many sizes, and return the result: a product rounded to the dtype, or 0."""
    with jax.enable_x64(dtype == "float64"):
        x = (np.arange(1 << 20, dtype=np.int32) % 4001 - 2000).reshape(1024, 1024) / 1024
        x = x.astype(jnp.dtype(dtype))  # on the host: what is tested is the product
        return np.asarray(jaxdrop.dropout(jax.random.key(2014), jnp.asarray(x), 0.1))


def cases() -> dict[str, Callable[[], Any]]:
    """What is drawn, by name. Every value is exact on every device: integers; 0 or a product."""

    def key() -> jax.Array:
        return jax.random.key(2014)

    def fast() -> jax.Array:
        return jax.random.key(2014, impl=jaxdrop.fast_prng_impl)

    drawn: dict[str, Callable[[], Any]] = {
        "random_bits, 1000": lambda: jaxdrop.random_bits(key(), (1000,)),
        "random_bits, 7 x 11 x 13": lambda: jaxdrop.random_bits(key(), (7, 11, 13)),
        "random_bits, 2**24 + 2**20": lambda: jaxdrop.random_bits(key(), (4352, 4096)),
        "random_bits across 2**32": lambda: jaxdrop.random_bits(
            key(), (2**22,), index_offset=(2**32 - 2**21,)
        ),
        "random_bits past 2**40": lambda: jaxdrop.random_bits(
            key(), (2**20,), index_offset=(2**40 + 12345,)
        ),
        "random_bits, block of 2**34": lambda: jaxdrop.random_bits(
            key(), (512, 512), index_offset=(100000, 65536), global_shape=(2**17, 2**17)
        ),
        "keep_mask, rate 0.1, 2**24 + 2**20": lambda: jaxdrop.keep_mask(key(), (4352, 4096), 0.1),
        "keep_mask, traced rate": lambda: jax.jit(
            lambda rate: jaxdrop.keep_mask(key(), (512, 512), rate)
        )(jnp.float32(0.3)),
        "keep_mask, broadcast_dims": lambda: jaxdrop.keep_mask(
            key(), (64, 64, 64), 0.5, broadcast_dims=(1,)
        ),
        "fast PRNG, bits": lambda: jax.random.bits(fast(), (1 << 20,)),
        "fast PRNG, bernoulli": lambda: jax.random.bernoulli(fast(), 0.3, (1 << 20,)),
        "vmap over keys": lambda: jax.vmap(lambda k: jaxdrop.random_bits(k, (4096,)))(
            jax.random.split(key(), 64)
        ),
        LARGE: lambda: jax.jit(lambda key: row_sums(jaxdrop.random_bits(key, BEYOND)))(key()),
    }
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64):

        def both(dtype: Any = dtype) -> Any:
            x = jnp.ones((4352, 1024), dtype)
            y, dx = jax.jit(stack.gradient(()))(key(), x, x)
            return np.stack([np.asarray(y), np.asarray(dx)])

        drawn[f"dropout and gradient, {dtype.dtype.name}"] = both
    for name in DTYPES:
        drawn[f"dropout of many numbers, {name}"] = functools.partial(of_many_numbers, name)
    return drawn


def write() -> int:
    golden = {name: digest(draw()) for name, draw in cases().items()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"written: {len(golden)} digests in scripts/proofs/device/{GOLDEN.name}")
    return 0


def run(size: Size) -> dict[str, Any]:
    """Compare every digest; past 2**32 also as an array in memory, where there is room for it."""
    golden, checks = json.loads(GOLDEN.read_text()), report.Checks()
    for name, draw in cases().items():
        if size.small and name in SLOW:
            continue
        try:
            same = digest(draw()) == golden[name]
        except jax.errors.JaxRuntimeError as error:  # a dtype that this device has not
            checks.add(f"same bits: {name}", False, str(error).partition("\n")[0][:200])
        else:
            checks.add(f"same bits: {name}", same, "equal" if same else "different")
    room = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 0)
    if room > 20 * 2**30:
        words = jax.jit(lambda key: jaxdrop.random_bits(key, BEYOND))(jax.random.key(2014))
        same = digest(jax.jit(row_sums)(words)) == golden[LARGE]
        checks.add("same bits: 2**32 + 2**16 words in memory", same, f"{words.nbytes} bytes")
    return found(checks.rows)
