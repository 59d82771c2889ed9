"""The public functions that have no record, each with one valid set of arguments."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxdrop
import jaxdrop.linen
import jaxdrop.mc
import jaxdrop.nnx
import jaxdrop.recurrent
import jaxdrop.surgery
import jaxdrop.testing
import jaxdrop.training
import jaxdrop.variational
from tests.functional.over_members import RATE
from tests.public_examples import (
    ADAPTED,
    ATTENTION_KINDS,
    CHAIN,
    CHAIN_KINDS,
    CONVOLUTIONS,
    EDGES,
    FRESH,
    FRESH_STATE,
    GRAPH_KINDS,
    KERNEL,
    KEY,
    LABELS,
    MASK,
    MESH,
    PARAMS,
    TX,
    Kinds,
    P,
    Q,
    X,
    dropped,
    is_linear,
    loss,
    recurrent,
    scale,
)


def _scores(*names: str) -> dict[str, tuple[dict[str, Any], Kinds]]:
    return {name: ({"probabilities": P[0], "labels": LABELS}, {}) for name in names}


def _samples(*names: str) -> dict[str, tuple[dict[str, Any], Kinds]]:
    return {name: ({"probabilities": P}, {}) for name in names}


# name -> (valid arguments, kinds of its own)
MC_CALL = {"apply_fn": dropped, "key": KEY, "x": X, "num_samples": 2}
FUNCTIONS: dict[Any, dict[str, tuple[dict[str, Any], Kinds]]] = {
    jaxdrop: {
        "random_bits": ({"key": KEY, "shape": (2, 3)}, {}),
        "keep_mask": ({"key": KEY, "shape": (2, 3), "rate": RATE}, {}),
        "default_mesh_axes": (
            {"mesh_axes": ("data", ..., "model")},
            {"mesh_axes": "mesh axes of what is not there"},
        ),
        "attention_keep_mask": (
            {"dropout_key": KEY, "shape": (2, 2, 3, 3), "rate": RATE},
            {"broadcast_dropout_dims": "dims"},
        ),
        "dot_product_attention": (
            {"query": Q, "key": Q, "value": Q, "dropout_key": KEY, "dropout_rate": 0.5},
            ATTENTION_KINDS,
        ),
        "ring_attention": (
            {"query": Q, "key": Q, "value": Q, "dropout_key": KEY, "dropout_rate": 0.5}
            | {"axis_name": "rows"},
            ATTENTION_KINDS,
        ),
        "concrete_regularizer": (
            {
                "rate": RATE,
                "kernel": KERNEL,
                "inputs": 4,
                "weight_factor": 0.1,
                "entropy_factor": 0.1,
            },
            {"rate": "one rate"},
        ),
        "drop_path_rates": (
            {"depth": 3, "max_rate": 0.2},
            {"max_rate": "any rate", "first": "any rate"},
        ),
        "mask_tokens": (
            {"key": KEY, "tokens": EDGES[0][None], "rate": RATE, "mask_token": 9}
            | {"random_share": 0.5, "mask_share": 0.5, "vocab_size": 9},
            {
                **dict.fromkeys(["mask_share", "random_share"], "share"),
                "mask_token": "token",
                "vocab_size": "vocabulary",
                "span": "count",
            },
        ),
        "modality_dropout": (
            {"key": KEY, "modalities": {"a": X, "b": X}, "rate": RATE},
            {"modalities": "modalities", "keep_one": "static switch", "rate": "rate"},
        ),
        "expert_dropout": ({"key": KEY, "gates": X, "rate": RATE}, {"gates": "reals"}),
        "drop_edge": (
            {"key": KEY, "graph": EDGES, "rate": RATE, "padding_node": 3},
            GRAPH_KINDS,
        ),
        "drop_node": (
            {"key": KEY, "graph": EDGES, "rate": RATE, "padding_node": 3, "num_nodes": 3},
            GRAPH_KINDS,
        ),
        "edge_keep_mask": (
            {"key": KEY, "senders": EDGES[0], "receivers": EDGES[1], "rate": RATE},
            {"undirected": "static switch", **dict.fromkeys(["senders", "receivers"], "ends")},
        ),
        "layer_skip_rates": (
            {"depth": 3, "max_rate": 0.2},
            {"max_rate": "one rate", "progress": "one rate"},
        ),
        "joint_condition_dropout": (
            {"key": KEY, "conditions": {"a": X}, "rates": {"a": RATE}, "nulls": {"a": 0}},
            {},
        ),
        "kept_units": (
            {"key": KEY, "n": 8, "rate": RATE},
            {"block_size": "count", "groups": "count or None"},
        ),
        "take_units": ({"x": X, "units": np.array([0, 2])}, {"units": "integers"}),
        "unit_dropout_mlp": (
            {"key": KEY, "x": X, "rate": RATE, "layers": CHAIN},
            CHAIN_KINDS | {"activation": "function!", "groups": "count"},
        ),
        "unit_dropout_conv": (
            {"key": KEY, "x": X[..., None], "rate": RATE, "layers": CONVOLUTIONS},
            CHAIN_KINDS | {"activation": "function!", "groups": "count"},
        ),
        "unit_dropout_mlp_kept": ({"key": KEY, "rate": RATE, "layers": CHAIN}, CHAIN_KINDS),
        "drop_path_subset": (
            {"key": KEY, "branch": jnp.tanh, "x": X, "rate": RATE},
            {"x": "numbers"},
        ),
        "token_skip": (
            {"key": KEY, "layers": lambda h, positions: h, "x": X[None], "rate": RATE},
            {"x": "numbers"},
        ),
        "patch_indices": ({"key": KEY, "shape": (2, 9), "rate": RATE}, {}),
        "max_norm": ({"c": 2.0}, {"axis": "axes"}),
        "symmetric_kl": ({"logits": X, "other": X}, {}),
        "r_drop_loss": ({"logits": X, "other": X, "labels": np.arange(3)}, {}),
        "recurrent_cell": (
            {"key": KEY, "cell": recurrent, "rate": RATE},
            {
                "rate": "any rate",
                "input_rate": "any rate",
                "mesh_axes": "mesh axes of what is not there",
            },
        ),
    },
    jaxdrop.variational: {
        "local_reparameterization": (
            {"key": KEY, "x": X, "kernel": KERNEL, "log_sigma2": -KERNEL, "linear": jnp.matmul},
            {"x": "reals"},
        ),
        "loss": ({"params": PARAMS}, {}),
        "sparsity": ({"params": PARAMS}, {}),
        "log_alpha": ({"kernel": KERNEL, "log_sigma2": -KERNEL}, {}),
        "prune": ({"kernel": KERNEL, "log_sigma2": -KERNEL}, {}),
        "pruned": ({"kernel": KERNEL, "log_sigma2": -KERNEL}, {}),
        "kl_divergence": ({"log_alpha": X}, {"log_alpha": "reals"}),
    },
    jaxdrop.recurrent: {"is_recurrent_kernel": ({"path": ("cell", "hf", "kernel")}, {})},
    jaxdrop.mc: {
        **_scores("reliability", "expected_calibration_error", "debiased_calibration_error"),
        **_scores("negative_log_likelihood", "brier_score"),
        **_scores("adaptive_calibration_error", "classwise_calibration_error"),
        **_samples("predictive_entropy", "expected_entropy", "mutual_information"),
        **_samples("variation_ratio", "max_probability"),
        "auroc": ({"inside": [0.1, 0.2], "outside": [0.2, 0.9]}, {}),
        "risk_coverage": ({"uncertainty": [0.1, 0.2], "loss": [0.0, 1.0]}, {}),
        "aurc": ({"uncertainty": [0.1, 0.2], "loss": [0.0, 1.0]}, {}),
        "fit_temperature": ({"logits": X, "labels": np.array([0, 3, 3])}, {}),
        "draw_reliability": (
            {
                "axes": Figure().subplots(),
                "diagram": jaxdrop.mc.Reliability(*jnp.ones((3, 2))),
            },
            {"axes": "model", "diagram": "model"},
        ),
        "mc_predict": (MC_CALL, {"x": None}),
        "mc_moments": (MC_CALL, {"x": None}),
        "regression_moments": ({"samples": X, "tau": 4.0}, {}),
        "regression_log_likelihood": ({"samples": X, "y": X[0], "tau": 4.0}, {}),
        "ensemble": ({"models": [nnx.Linear(2, 2, rngs=nnx.Rngs(i)) for i in (0, 1)]}, {}),
        "sampler": ({"model": nnx.Dropout(0.5, rngs=nnx.Rngs(0))}, {}),
    },
    jaxdrop.testing: {
        "assert_mask_rate": ({"mask": MASK, "rate": 0.5}, {"rate": "one rate"}),
        "assert_independent_masks": ({"a": MASK, "b": MASK[::-1]}, {}),
        "assert_mean_preserved": ({"fn": dropped, "key": KEY, "x": X, "num_samples": 50}, {}),
        "assert_gradient_uses_mask": ({"fn": dropped, "key": KEY, "x": X}, {}),
        "assert_attention_dropout": (
            {
                "attention_fn": jaxdrop.dot_product_attention,
                "rate": 0.5,
                "shape": (2, 2, 32, 32),
                "head_size": 32,
            },
            {
                "attention_fn": "function!",
                "rate": "one rate",
                "head_size": "count",
                "skip": "names",
            },
        ),
        "assert_deterministic_eval": ({"apply_fn": lambda key, x: x, "x": X}, {"x": None}),
    },
    jaxdrop.surgery: {
        "find_dropouts": ({"model": FRESH}, {"where": "function!"}),
        "replace": ({"model": FRESH}, {"where": "function!"}),
        "rates_as_variables": ({"model": FRESH}, {"where": "function!"}),
        "set_rates": ({"model": FRESH, "rate": 0.2}, {"rate": "new rate", "where": "function!"}),
        "insert": (
            {"model": FRESH, "where": is_linear, "rate": 0.2, "rngs": nnx.Rngs(0)},
            {"where": "function!", "rate": "any rate"},
        ),
        "lora_dropout": (
            {"model": ADAPTED, "rate": 0.2, "rngs": nnx.Rngs(0)},
            {"where": "function!", "rate": "any rate"},
        ),
        "listing": ({"model": FRESH}, {"inputs": None}),
        "table": ({"model": FRESH}, {"inputs": None}),
        "audit": (
            {"model": FRESH, "inputs": jnp.ones((8, 2))},
            {"inputs": None, "training": None, "testing": None, "timed": "static switch"},
        ),
        "replaced": ({}, {"rate": "new rate", "where": "function!"}),
        "inserted": (
            {"where": is_linear, "rate": 0.2, "deterministic": False},
            {"where": "function!", "rate": "any rate"},
        ),
    },
    jaxdrop.training: {
        "epoch_order": ({"seed": 0, "epoch": 0, "rows": 5}, {}),
        "make_train_step": ({"loss_fn": loss}, {}),
        "make_eval_step": ({"metric_fn": loss}, {}),
        "sweep": (
            {"train": scale, "axes": {"rate": jnp.arange(2.0)}},
            {"trial": "function", "chunk": "count or None", "shared": "shared of a sweep"},
        ),
        "fit": (
            {
                "state": FRESH_STATE,
                "loss_fn": loss,
                "data": X,
                "seed": 0,
                "epochs": 1,
                "batch_size": 3,
            },
            {
                "metric_fn": "function",
                "test": "data or None",
                "tick": "function",
                "save_every": "count",
                "keep": "count",
                "log_every": "count",
            },
        ),
        "shard_state": ({"state": FRESH_STATE, "mesh": MESH}, {}),
        "saved_step": ({"folder": "/nowhere"}, {}),
        "update_kept": ({"inner": TX}, {"inner": "transformation"}),
        "TrainState.create": (
            {"apply_fn": recurrent, "params": PARAMS, "tx": TX, "dropout_key": KEY},
            {"apply_fn": None, "params": None},
        ),
        "NNXTrainState.from_model": (
            {"model": FRESH, "tx": TX, "dropout_key": KEY},
            {},
        ),
    },
}
# Records, exceptions and a generator, which check nothing; what other tests give bad input.
NO_CALLS: dict[Any, set[str]] = {
    jaxdrop: set(),
    jaxdrop.recurrent: {"RECURRENT_LAYERS"},
    jaxdrop.variational: set(),
    jaxdrop.mc: {"Moments", "Reliability", "RiskCoverage"},
    jaxdrop.testing: set(),
    jaxdrop.surgery: {"Audit", "AuditRow", "Finding", "Row", "Undo", "DropRate", "force_dropout"},
    jaxdrop.training: {"CheckpointError", "Stopped", "TrainState", "NNXTrainState"},
}
