"""Cases of ``scripts/prove peers`` on one device."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import jaxdrop
from scripts.proofs import hlo, stack
from scripts.proofs.peer_drops import MODULES, RATE, Drop, inputs, key


def longer_batch(drop: Drop) -> str:
    x = jnp.ones((64, 32))
    same = np.array_equal(drop(key(), x[:16]), drop(key(), x)[:16])
    return "leading rows keep their mask" if same else "every row's mask changes"


def microbatches(drop: Drop) -> str:
    x = jnp.ones((64, 32))
    whole = drop(key(), x)
    if drop is MODULES["jaxdrop"]:
        second = jaxdrop.dropout(key(), x[32:], RATE, index_offset=(32,))
        return "the full batch's masks" if np.array_equal(second, whole[32:]) else "other masks"
    second = drop(key(), x[32:])
    return "the full batch's masks" if np.array_equal(second, whole[32:]) else "no offset to give"


def vmap_keys(drop: Drop) -> str:
    keys, x = jax.random.split(key(), 8), inputs(8, 64)
    same = np.array_equal(
        jax.vmap(drop)(keys, x), jnp.stack([drop(k, row) for k, row in zip(keys, x, strict=True)])
    )
    return "equals the loop" if same else "differs from the loop"


def vmap_keys_rbg(drop: Drop) -> str:
    keys, x = jax.random.split(jax.random.key(0, impl="rbg"), 8), inputs(8, 64)
    same = np.array_equal(
        jax.vmap(drop)(keys, x), jnp.stack([drop(k, row) for k, row in zip(keys, x, strict=True)])
    )
    return "equals the loop" if same else "differs from the loop"


def residuals(drop: Drop) -> str:
    x = jnp.ones((256, 256))
    pull = jax.vjp(lambda x: drop(key(), x), x)[1]
    kept = [leaf for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array)]
    arrays = sum(leaf.nbytes for leaf in kept if leaf.size > 4)
    return f"{arrays / x.size:g} bytes per element" if arrays else "the key"


def mask_buffers(drop: Drop) -> str:
    f = stack.stack(lambda key, x: drop(key, x), True)
    compiled = jax.jit(f).lower(*stack.stack_arguments(256, 256, jnp.float32)).compile()
    text = compiled.as_text()
    assert text is not None
    found = hlo.mask_buffers(text, 256 * 256)
    return f"{len(found)} written" if found else "none"


def traced_rate(drop: Drop) -> str:
    y = jax.jit(lambda rate: drop(key(), jnp.ones((64, 64)), rate=rate))(jnp.float32(RATE))
    return f"works, {float((y == 0).mean()):.3f} dropped"


def bad_rate(drop: Drop) -> str:
    y = drop(key(), jnp.ones((64, 64)), rate=1.5)
    return f"no error; mean {float(y.mean()):.3g}"


def x64(drop: Drop) -> str:
    x = jnp.ones((64, 64), jnp.float32)
    with jax.enable_x64(False):
        off = np.asarray(drop(key(), x))
    with jax.enable_x64(True):
        on = np.asarray(drop(key(), x))
    return "same mask" if np.array_equal(off, on) else "another mask"


def key_impl_fast(drop: Drop) -> str:
    fast = jax.random.key(0, impl=jaxdrop.fast_prng_impl)
    y = drop(fast, jnp.ones((256, 256)))
    return f"works, {float((y == 0).mean()):.3f} dropped"


def exported(drop: Drop) -> str:
    (rows,) = jax.export.symbolic_shape("rows")
    shape = jax.ShapeDtypeStruct((rows, 8), jnp.float32)
    words = jax.ShapeDtypeStruct((2,), jnp.uint32)

    def step(data: jax.Array, x: jax.Array) -> jax.Array:
        return drop(jax.random.wrap_key_data(data, impl="threefry2x32"), x)

    blob = jax.export.export(jax.jit(step))(words, shape).serialize()
    x = inputs(6, 8)
    again = jax.export.deserialize(blob).call(jax.random.key_data(key()), x)
    return "same bits" if np.array_equal(again, drop(key(), x)) else "other bits"


def key_reuse(drop: Drop) -> str:
    with jax.debug_key_reuse(True):
        k, x = jax.random.key(3), jnp.ones((8, 8))
        jax.jit(jax.grad(lambda x: drop(k, x).sum()))(x)
    return "quiet in a gradient"
