"""On a machine with a GPU: whether it draws the bits that a CPU drew, and its peak memory.

scripts/prove device            compare with the committed digests
scripts/prove device --write    write the digests, on a CPU
"""

import argparse
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

GOLDEN = Path(__file__).with_name("device_golden.json")
BEYOND = (65537, 65536)  # 2**32 + 2**16 elements


def digest(array: Any) -> str:
    """Return a SHA-256 of the array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def row_sums(bits: jax.Array) -> jax.Array:
    """Add the words of each row, mod 2**32: a digest that the device itself can compute."""
    return bits.sum(axis=1, dtype=jnp.uint32)


def cases() -> dict[str, Callable[[], Any]]:
    """What is drawn, by name. Every value is exact on every device: integers, and 0 or a scale."""

    def key() -> jax.Array:
        return jax.random.key(2014)

    def fast() -> jax.Array:
        return jax.random.key(2014, impl=jaxdrop.fast_prng_impl)

    found: dict[str, Callable[[], Any]] = {
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
        "row sums of 2**32 + 2**16 words": lambda: jax.jit(
            lambda key: row_sums(jaxdrop.random_bits(key, BEYOND))
        )(key()),
    }
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64):

        def both(dtype: Any = dtype) -> Any:
            x = jnp.ones((4352, 1024), dtype)
            y, dx = jax.jit(stack.gradient(()))(key(), x, x)
            return np.stack([np.asarray(y), np.asarray(dx)])

        found[f"dropout and gradient, {dtype.dtype.name}"] = both
    return found


def write() -> int:
    golden = {name: digest(draw()) for name, draw in cases().items()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"written: {len(golden)} digests in scripts/proofs/{GOLDEN.name}")
    return 0


def check() -> int:
    device = jax.devices()[0]
    if device.platform != "gpu":
        print(f"No GPU: jax sees {device.device_kind}. Nothing was checked.")
        return 1
    golden = json.loads(GOLDEN.read_text())
    checks = report.Checks()
    for name, draw in cases().items():
        same = digest(draw()) == golden[name]
        checks.add(f"same bits: {name}", same, "equal" if same else "different")
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    if memory > 20 * 2**30:
        bits = jax.jit(lambda key: jaxdrop.random_bits(key, BEYOND))(jax.random.key(2014))
        same = digest(jax.jit(row_sums)(bits)) == golden["row sums of 2**32 + 2**16 words"]
        checks.add("an array of 2**32 + 2**16 words in memory", same, f"{bits.nbytes} bytes")
        del bits
    peaks = memory_peaks(device)
    data = {
        "command": "scripts/prove device",
        "device": device.device_kind,
        "versions": report.versions("jax", "jaxlib"),
        "memory peaks": peaks,
        "checks": checks.rows,
    }
    text = [
        f"# On a device: {device.device_kind}\n",
        checks.markdown(),
        "## Memory in use at most by the eight-layer stack\n",
        report.table(["layers", "dropout", "MiB"], [list(row.values()) for row in peaks]),
    ]
    report.write("device", data, "\n".join(text))
    return checks.failed()


def memory_peaks(device: Any) -> list[dict[str, Any]]:
    """Run the stack; the peak never falls, so the smallest comes first and larger ones show."""
    rows = []
    for scanned in (False, True):
        for name in ("none", "jaxdrop", "flax, checkpoint", "flax"):
            if name not in stack.DROPS:  # a machine without flax
                continue
            shapes = stack.stack_arguments(16384, 4096, jnp.bfloat16)
            ws, x = (jnp.ones(s.shape, s.dtype) for s in shapes[:2])
            step = jax.jit(stack.stack(stack.DROPS[name], scanned))
            jax.block_until_ready(step(ws, x, jax.random.key(0)))
            peak = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
            rows.append(
                {
                    "layers": "scanned" if scanned else "unrolled",
                    "dropout": name,
                    "MiB": round(peak / 2**20, 1),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the digests, on a CPU")
    return write() if parser.parse_args().write else check()


if __name__ == "__main__":
    raise SystemExit(main())
