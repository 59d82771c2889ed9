"""drop_edge, drop_node and drop_message: their laws, and the peers' definitions of them."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx

NODES = 100
FALSE_ALARM = 1e-8  # of each comparison
ROWS, COLUMNS = (np.asarray(a) for a in np.nonzero(~np.eye(NODES, dtype=bool)))
PAIRS = jnp.asarray(ROWS), jnp.asarray(COLUMNS)


class Graph(NamedTuple):
    """What jraph's GraphsTuple is made of."""

    nodes: Any
    edges: Any
    senders: Any
    receivers: Any
    n_node: Any


def small() -> Graph:
    """A ring of 6 nodes, both directions, and a node of padding."""
    a = jnp.arange(6)
    senders, receivers = jnp.concatenate([a, (a + 1) % 6]), jnp.concatenate([(a + 1) % 6, a])
    nodes = {"h": jnp.ones((7, 2)), "label": jnp.arange(1, 8)}
    return Graph(nodes, jnp.arange(12.0), senders, receivers, jnp.array([6, 1]))


def matrix(kept: Any) -> np.ndarray:
    whole = np.zeros((NODES, NODES), bool)
    whole[ROWS, COLUMNS] = kept
    return whole


def check_rate(dropped: np.ndarray, rate: float) -> None:
    """Each row's count of independent decisions is binomial, and so is that of all."""
    for count, of in ((dropped.sum(), dropped.size), *((row.sum(), row.size) for row in dropped)):
        tail = FALSE_ALARM / 2 / len(dropped)
        low, high = scipy.stats.binom.ppf([tail, 1 - tail], of, rate)
        assert low <= count <= high, f"{count} not in [{low}, {high}]"


def check_both_directions(kept: np.ndarray) -> None:
    assert (kept == kept.T).all(), "one direction without the other"


def test_an_undirected_edge_decides_once_for_both_directions() -> None:
    key = jax.random.key(0)
    kept = matrix(jaxdrop.edge_keep_mask(key, *PAIRS, 0.3, undirected=True))
    check_both_directions(kept)
    upper = ~kept[np.triu_indices(NODES, 1)]
    check_rate(upper.reshape(50, 99), 0.3)
    directed = matrix(jaxdrop.edge_keep_mask(key, *PAIRS, 0.3))
    check_rate(~directed[ROWS, COLUMNS].reshape(NODES, NODES - 1), 0.3)
    with pytest.raises(AssertionError, match="one direction"):
        check_both_directions(directed)
    both = directed & directed.T  # either direction drops both: too often
    with pytest.raises(AssertionError, match="not in"):
        check_rate(~both[np.triu_indices(NODES, 1)].reshape(50, 99), 0.3)
    one = jaxdrop.edge_keep_mask(key, jnp.arange(100) % 10, jnp.arange(100) // 10, 0.3)
    crowd = np.broadcast_to(one, (NODES, NODES))
    with pytest.raises(AssertionError, match="not in"):
        check_rate(~crowd.T, 0.3)


def test_a_decision_knows_the_two_nodes_and_nothing_else() -> None:
    """Neither the order of the edges, nor how many there are, nor how large the graph is."""
    order = np.random.default_rng(0).permutation(len(ROWS))
    draw = jax.jit(lambda a, b: jaxdrop.edge_keep_mask(jax.random.key(1), a, b, 0.5))
    whole, mixed = np.asarray(draw(*PAIRS)), np.asarray(draw(PAIRS[0][order], PAIRS[1][order]))
    np.testing.assert_array_equal(mixed, whole[order])
    np.testing.assert_array_equal(draw(PAIRS[0][:7], PAIRS[1][:7]), whole[:7])
    far = jnp.array([2**31 - 1, 2**31 - 2], jnp.int32)
    words = draw(jnp.tile(far, 32), jnp.repeat(jnp.arange(32, dtype=jnp.int32), 2))
    assert 8 <= int(words.sum()) <= 56 and (words[::2] != words[1::2]).any()


def test_pygs_dropout_edge_and_dropout_node() -> None:
    """Its rule: keep the edges whose mask is set; a node's edges go if either end is dropped."""
    graph, key, rate = small(), jax.random.key(5), 0.5
    mask = np.asarray(jaxdrop.edge_keep_mask(key, graph.senders, graph.receivers, rate))
    ours = jaxdrop.drop_edge(key, graph, rate, padding_node=-1)
    assert 0 < mask.sum() < 12
    edges = np.stack([graph.senders, graph.receivers])
    at = np.stack([ours.senders, ours.receivers])
    np.testing.assert_array_equal(at[:, mask], edges[:, mask])
    np.testing.assert_array_equal(at[:, ~mask], 6)
    assert ours.nodes is graph.nodes and ours.edges is graph.edges and isinstance(ours, Graph)
    nodes = np.asarray(jaxdrop.keep_mask(key, (7,), rate))
    subgraph = nodes[edges[0]] & nodes[edges[1]]
    ours = jaxdrop.drop_node(key, graph, rate, padding_node=-1)
    at = np.stack([ours.senders, ours.receivers])
    np.testing.assert_array_equal(at, np.where(subgraph, edges, 6))
    np.testing.assert_array_equal(ours.nodes["label"], np.where(nodes, np.arange(1, 8), 0))
    np.testing.assert_array_equal(ours.nodes["h"][:, 0], nodes)


def test_degrees_and_sums_leave_out_what_goes_beyond_the_last_node() -> None:
    graph, key = small(), jax.random.key(2)

    @jax.jit
    def sums(rate: Any, mode: Any) -> Any:
        ends = graph.senders, graph.receivers
        to, at = jaxdrop.drop_edge(key, ends, rate, padding_node=6, deterministic=mode)
        messages = jnp.arange(6.0)[to]
        return jax.ops.segment_sum(messages, at, 6), jax.ops.segment_sum(jnp.ones(12), at, 6)

    kept = jaxdrop.edge_keep_mask(key, graph.senders, graph.receivers, 0.5)
    received, degrees = sums(0.5, False)
    want = np.zeros((2, 6))
    ends = map(np.asarray, (graph.senders, graph.receivers, kept))
    for s, r, k in zip(*ends, strict=True):
        want[:, r] += k * np.array([s, 1.0])
    np.testing.assert_array_equal(np.stack([received, degrees]), want)
    np.testing.assert_array_equal(sums(0.5, True)[1], np.full(6, 2))
    np.testing.assert_array_equal(sums(1.0, False)[1], np.zeros(6))


def test_shards_of_the_edges_draw_their_part_with_one_key() -> None:
    graph, key = small(), jax.random.key(3)
    mesh = jax.make_mesh(
        (2,), ("a",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2]
    )
    spec = jax.sharding.PartitionSpec("a")

    def shard(a: Any, b: Any) -> Any:
        edges = jaxdrop.drop_edge(key, (a, b), 0.5, padding_node=6)
        return *edges, *jaxdrop.drop_node(key, (a, b), 0.5, padding_node=6, num_nodes=7)

    with jax.set_mesh(mesh):
        parts = jax.jit(jax.shard_map(shard, in_specs=(spec, spec), out_specs=(spec,) * 4))
        got = parts(graph.senders, graph.receivers)
    for a, b in zip(got, shard(graph.senders, graph.receivers), strict=True):
        np.testing.assert_array_equal(a, b)


def test_messages_are_dropped_as_dropout_drops() -> None:
    x, senders, key = jnp.arange(1.0, 7.0).reshape(3, 2), jnp.array([0, 0, 2, 1]), jax.random.key(4)
    y = jaxdrop.drop_message(key, x, 0.5, senders=senders)
    np.testing.assert_array_equal(y, jaxdrop.dropout(key, x[senders], 0.5))
    back = jax.grad(lambda x: jaxdrop.drop_message(key, x, 0.5, senders=senders).sum())(x)
    mask = np.asarray(jaxdrop.keep_mask(key, (4, 2), 0.5)) * 2.0
    np.testing.assert_array_equal(back, [mask[0] + mask[1], mask[3], mask[2]])


def layers(name: str, **options: Any) -> tuple[nn.Module, Any]:
    linen = getattr(jaxdrop.linen, name)(0.5, deterministic=False, **options)
    return linen, getattr(jaxdrop.nnx, name)(0.5, rngs=nnx.Rngs(0), **options)


def test_layers_give_the_functions_bits_and_are_off_in_eval() -> None:
    graph, key = small(), jax.random.key(6)
    function: Any
    want: Any
    for name, function, options in (
        ("DropEdge", jaxdrop.drop_edge, {"padding_node": -1, "undirected": True}),
        ("DropNode", jaxdrop.drop_node, {"padding_node": -1}),
    ):
        linen, layer = layers(name, **options)
        want = function(key, graph, 0.5, **options)
        jax.tree.map(np.testing.assert_array_equal, linen.apply({}, graph, rng=key), want)
        jax.tree.map(np.testing.assert_array_equal, layer(graph, rngs=key), want)
        assert len({tuple(layer(graph).senders.tolist()) for _ in range(4)}) > 1
        layer.eval()
        assert layer(graph) is graph
    linen, layer = layers("DropMessage")
    x, senders = graph.nodes["h"], graph.senders
    want = jaxdrop.drop_message(key, x, 0.5, senders=senders)
    np.testing.assert_array_equal(linen.apply({}, x, senders=senders, rng=key), want)
    np.testing.assert_array_equal(layer(x, senders=senders, rngs=key), want)
    layer.eval()
    np.testing.assert_array_equal(layer(x, senders=senders), x[senders])


def test_wrong_use_is_told_in_a_sentence() -> None:
    key, graph = jax.random.key(0), small()
    pair = graph.senders, graph.receivers
    for function in (jaxdrop.drop_edge, jaxdrop.drop_node):
        call: Any = function
        with pytest.raises(TypeError, match=r"^got graph=.* takes a pair \(senders, receivers\)"):
            call(key, graph.senders, 0.5, padding_node=6)
        with pytest.raises(ValueError, match=r"^got senders of shape \(12,\) and rec.* \(3,\)"):
            call(key, (pair[0], pair[1][:3]), 0.5, padding_node=6)
        with pytest.raises(ValueError, match="padding_node=-8 for a graph of 7 nodes"):
            call(key, graph, 0.5, padding_node=-8)
    with pytest.raises(ValueError, match="padding_node=-1 for a graph of an unknown number of"):
        jaxdrop.drop_edge(key, pair, 0.5, padding_node=-1)
    with pytest.raises(ValueError, match="^got num_nodes=None for a graph without"):
        jaxdrop.drop_node(key, pair, 0.5, padding_node=6)
    with pytest.raises(TypeError, match="senders of dtype float32; drop_message takes integer"):
        jaxdrop.drop_message(key, jnp.ones((2, 3)), 0.5, senders=jnp.ones(3))
