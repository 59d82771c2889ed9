"""ring_attention: what dot_product_attention gives, with the length split over devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxdrop import attention_keep_mask, dot_product_attention, ring_attention
from jaxdrop._attention.pieces import Pieces, whole_parts, zigzag
from tests.attention.cases import KEY, KEYS, B, N, Q, V, normal
from tests.attention.truth import gradients, truth

MESH = jax.make_mesh((2, 4), ("data", "sequence"), (jax.sharding.AxisType.Auto,) * 2)
SPLIT = P("data", "sequence")
CT = normal(9, *Q.shape)
NO_BIAS = np.zeros((1, 1, 1, 1))


def split(check_vma: bool = True, mesh: Any = MESH, spec: P = SPLIT, **options: Any) -> Any:
    """The attention of all, inside shard_map, as a function of q, k, v, rate and mode."""

    def shard(q: Any, k: Any, v: Any, rate: Any, mode: Any, lengths: Any) -> jax.Array:
        return ring_attention(
            q, k, v, axis_name="sequence", dropout_rate=rate, dropout_key=jax.random.clone(KEY),
            deterministic=mode, key_value_seq_lengths=lengths, **options,
        )  # fmt: skip

    specs = spec, spec, spec, P(), P(), P(*spec[:1])
    return jax.shard_map(shard, mesh=mesh, in_specs=specs, out_specs=spec, check_vma=check_vma)


def padded(a: jax.Array) -> jax.Array:
    """A length that four devices share."""
    return jnp.pad(a, [(0, 0), (0, -a.shape[1] % 4), (0, 0), (0, 0)])


SMALL: dict[str, Any] = {"block_q": 2, "block_kv": 3}
CASES: dict[str, dict[str, Any]] = {
    "ring, causal": {"is_causal": True, **SMALL},
    "ring, unchecked": {"local_window_size": (9, 5), "check_vma": False, "block_kv": 4},
    "all to all": {"method": "all_to_all", "is_causal": True, "dropout_on": "keys"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_one_device(case: str) -> None:
    """Examples over a mesh axis too; 21 queries and 27 keys, of which an example has 19."""
    attend = split(global_length=(21, 27), mesh_axes=("data",), **CASES[case])
    lengths = jnp.array([27, 19])

    @jax.jit
    def both(rate: Any, mode: Any) -> Any:
        def whole(*arrays: Any) -> jax.Array:
            y = attend(*map(padded, arrays), rate, mode, lengths)
            return y[:, : Q.shape[1]]

        y, back = jax.vjp(whole, Q, KEYS, V)
        return y, back(CT)

    rules = {
        "is_causal": CASES[case].get("is_causal", False),
        "window": CASES[case].get("local_window_size"),
        "on": CASES[case].get("dropout_on", "weights"),
        "key_lengths": lengths,
    }
    for rate, mode in ((0.0, False), (0.1, False), (0.5, False), (0.5, True)):
        y, found = both(jnp.float32(rate), jnp.bool_(mode))
        given: Any = {"rate": 0.0 if mode else float(np.float32(rate)), "key": KEY, **rules}
        np.testing.assert_allclose(y, truth(Q, KEYS, V, **given), rtol=0, atol=5e-6)
        expected = gradients(CT, Q, KEYS, V, NO_BIAS, **given)[:3]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_mask_is_attention_keep_mask_s_in_every_bit() -> None:
    """Equal weights, and values that name their key; a key of each device's own is found."""
    length = 16
    q, names = jnp.zeros((B, length, N, length)), jnp.eye(length)[None, :, None]
    values = jnp.broadcast_to(names, (B, length, N, length))

    @jax.jit
    @jax.shard_map(mesh=MESH, in_specs=(P(), SPLIT, SPLIT), out_specs=SPLIT)
    def shares(key: Any, q: Any, v: Any) -> Any:
        def attend(method: Any, key: Any) -> jax.Array:
            return ring_attention(
                q, q, v, axis_name="sequence", mesh_axes=SPLIT, method=method, dropout_rate=0.5,
                dropout_key=key,
            )  # fmt: skip

        own = jax.random.fold_in(jax.random.clone(key), jax.lax.axis_index("sequence"))
        same = [attend(method, jax.random.clone(key)) for method in ("ring", "all_to_all")]
        return *same, attend("ring", own)

    expected = attention_keep_mask(KEY, (B, N, length, length), 0.5)
    of_ring, of_all_to_all, planted = (
        jnp.swapaxes(y, 1, 2) for y in shares(jax.random.clone(KEY), q, values)
    )
    np.testing.assert_array_equal(of_ring, jnp.where(expected, jnp.float32(2 / length), 0))
    np.testing.assert_array_equal(of_all_to_all, of_ring)
    assert ((planted != 0) != expected).mean() > 0.3


def work(pieces: Pieces) -> np.ndarray:
    """[device, step]: pairs of a query and a key that it may attend to, for keys of one device."""
    starts = pieces.tiles(1).starts
    query, key = np.array(starts)[:, None, :, None], np.array(starts)[None, :, None, :]
    return (query >= key).sum((2, 3))


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_under_a_causal_mask_all_devices_have_the_same_work(devices: int) -> None:
    """But for the diagonal, of which each has its own; the parts as they are held differ by all."""
    length = 6
    found, held = work(zigzag(length, devices)), work(whole_parts(length, devices))
    others = ~np.eye(devices, dtype=bool)
    assert (found[others] == length**2 // 2).all() and np.ptp(np.diag(found)) == 0
    assert set(held[others]) == {0, length**2}
    assert found.sum() == held.sum() == length * devices * (length * devices + 1) // 2


@pytest.mark.slow
@pytest.mark.parametrize(("method", "numbers"), [("ring", (2, 4, 8)), ("all_to_all", (2, 8))])
def test_memory_of_a_device_falls_with_their_number(method: str, numbers: tuple[int, ...]) -> None:
    """Arguments, results and all between them, with the gradient; tiles take a part of it."""

    def planned(devices: int) -> int:
        mesh = jax.make_mesh(
            (devices,), ("sequence",), (jax.sharding.AxisType.Auto,),
            devices=jax.devices()[:devices],
        )  # fmt: skip
        spec = P(None, "sequence")
        attend = split(mesh=mesh, spec=spec, method=method, is_causal=True, block_q=32, block_kv=32)
        x = jax.ShapeDtypeStruct((1, 4096, 8, 16), jnp.float32)

        def loss(q: Any, k: Any, v: Any) -> jax.Array:
            return jnp.sum(attend(q, k, v, jnp.float32(0.1), jnp.bool_(False), jnp.array([4096])))

        sharding = jax.NamedSharding(mesh, spec)
        jitted = jax.jit(jax.grad(loss, argnums=(0, 1, 2)), in_shardings=sharding)
        memory = jitted.lower(x, x, x).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes + memory.argument_size_in_bytes

    found = [planned(devices) for devices in numbers]
    for devices, memory in zip(numbers[1:], found[1:], strict=True):
        assert memory < 1.2 * found[0] * numbers[0] / devices


def test_outside_of_shard_map_it_is_dot_product_attention() -> None:
    given: Any = {"dropout_rate": 0.5, "dropout_key": KEY, "is_causal": True}
    y = ring_attention(Q, KEYS, V, axis_name="sequence", **given)
    np.testing.assert_array_equal(y, dot_product_attention(Q, KEYS, V, **given))


def test_wrong_use_is_told_in_a_sentence() -> None:
    q, k, v = map(padded, (Q, KEYS, V))
    for options, error, said in (
        ({"method": "tree"}, ValueError, "got method='tree', expected 'ring' or 'all_to_all'"),
        ({"global_length": 29}, ValueError, r"from 1 to \(24, 28\)"),
        ({"global_length": 2.5}, TypeError, "got global_length=2.5"),
        ({"mesh_axes": (None, "data")}, ValueError, "expected 'sequence', or None, for the length"),
        ({"mesh_axes": ("sequence",)}, ValueError, "got 'sequence' twice"),
        ({"mesh_axes": (None,)}, ValueError, "differs over the mesh axis 'data', as the key does"),
        ({"mesh_axes": (*SPLIT, None, "model")}, ValueError, "the size of a head"),
        ({"block_q": 0}, ValueError, "got block_q=0"),
    ):
        given = {"mesh_axes": SPLIT} | options
        with pytest.raises(error, match=said):
            jax.eval_shape(split(**given), q, k, v, 0.5, False, None)


def test_what_a_method_cannot_do_is_told() -> None:
    rates: Any = {"dropout_rate": np.full((N, 1, 1), 0.5), "dropout_key": KEY}

    def shard(q: Any, k: Any, same: Any) -> None:
        odd = q[:, :, :3], k[:, :, :1], k[:, :, :1]
        for arrays, options, error, said in (
            (odd, {"method": "all_to_all"}, ValueError, "got 3 heads with method='all_to_all'"),
            ((q, k, k), {"method": "all_to_all", **rates}, ValueError, r"of shape \(4, 1, 1\)"),
            ((q, same, k), {}, ValueError, "got a key that is the same over the mesh axis 'seq"),
            ((q, k, k), {"axis_name": "rows"}, ValueError, "got axis_name='rows' inside shard_map"),
            ((q, k, k), {"axis_name": 3}, TypeError, "got axis_name=3 of type int"),
        ):
            with pytest.raises(error, match=said):
                ring_attention(
                    *arrays, **{"axis_name": "sequence", "mesh_axes": ("data",), **options}
                )

    specs = SPLIT, SPLIT, P("data")
    arrays = padded(Q), padded(KEYS), KEYS[:, :7]
    jax.eval_shape(jax.shard_map(shard, mesh=MESH, in_specs=specs, out_specs=P()), *arrays)
