"""The pages of the reference: every public name, by module and group."""

import importlib
import inspect

from scripts.members import RECORDS
from scripts.members._record import SECTIONS, Record

Groups = dict[str, tuple[str, ...]]

ABOUT = {
    "jaxdrop": "Pure functions of a key and an array. `import jaxdrop` does not import flax.",
    "jaxdrop.linen": "Layers for Flax Linen, which find rate, mode and key and call the function.",
    "jaxdrop.nnx": "Layers for Flax NNX, which find rate, mode and key and call the function.",
    "jaxdrop.training": "Train states, steps, whole runs, sweeps: dropout by key and step.",
    "jaxdrop.mc": "A trained model as a sampler, its uncertainty, and how good that is.",
    "jaxdrop.surgery": "The dropouts of a model that exists: listed, replaced, added, scheduled.",
    "jaxdrop.testing": "Assertions about dropout for your own tests, in the style of chex.",
    "jaxdrop.variational": "What training with variational dropout needs.",
    "jaxdrop.recurrent": "Which parameters of Flax's recurrent cells read the hidden state.",
}

FUNCTIONS: Groups = {
    "Attention": ("dot_product_attention", "ring_attention", "attention_keep_mask"),
    "Dropped units that are not computed": (
        *("unit_dropout_mlp", "unit_dropout_mlp_kept", "unit_dropout_conv"),
        *("kept_units", "take_units"),
    ),
    "Beside dropout, while training": (
        *("max_norm", "r_drop_loss", "symmetric_kl", "concrete_regularizer"),
    ),
    "Bits": ("keep_mask", "random_bits", "fast_prng_impl"),
    "Inside shard_map": ("default_mesh_axes",),
}

LAYERS: Groups = {
    "Attention": ("dot_product_attention",),
    "Dropped units that are not computed": ("UnitDropoutMLP", "UnitDropoutConv"),
}

OTHERS: dict[str, Groups] = {
    "jaxdrop.training": {
        "States": ("TrainState", "NNXTrainState"),
        "Steps": ("make_train_step", "make_eval_step", "update_kept"),
        "Runs": ("fit", "epoch_order", "saved_step", "CheckpointError", "Stopped"),
        "Sweeps and meshes": ("sweep", "shard_state"),
    },
    "jaxdrop.mc": {
        "Samples": ("sampler", "ensemble", "mc_predict", "mc_moments", "Moments"),
        "Uncertainty of a classifier": (
            *("predictive_entropy", "expected_entropy", "mutual_information"),
            *("variation_ratio", "max_probability"),
        ),
        "Regression": ("regression_moments", "regression_log_likelihood"),
        "Scores and calibration": (
            *("negative_log_likelihood", "brier_score", "auroc", "reliability", "Reliability"),
            *("expected_calibration_error", "debiased_calibration_error"),
            *("adaptive_calibration_error", "classwise_calibration_error", "draw_reliability"),
            *("fit_temperature", "risk_coverage", "RiskCoverage", "aurc"),
        ),
    },
    "jaxdrop.surgery": {
        "Look": ("listing", "table", "find_dropouts", "Row"),
        "Judge": ("audit", "Audit", "AuditRow", "Finding"),
        "Change an NNX model": ("replace", "set_rates", "rates_as_variables", "insert", "Undo"),
        "Change a Linen model": ("replaced", "inserted"),
        "Beside": ("lora_dropout", "force_dropout", "DropRate"),
    },
    "jaxdrop.testing": {
        "Assertions": (
            *("assert_mask_rate", "assert_independent_masks", "assert_mean_preserved"),
            *("assert_gradient_uses_mask", "assert_deterministic_eval"),
            "assert_attention_dropout",
        ),
    },
    "jaxdrop.variational": {
        "Loss": ("loss", "kl_divergence", "log_alpha", "local_reparameterization"),
        "Pruning": ("sparsity", "prune", "pruned"),
    },
    "jaxdrop.recurrent": {"Parameters": ("is_recurrent_kernel", "RECURRENT_LAYERS")},
}


def layer_names(record: Record, *, nnx: bool) -> tuple[str, ...]:
    names = [(nnx and layer.nnx_name) or layer.name for layer in record.layers]
    return tuple(dict.fromkeys([*names, *record.own_layers]))


def members(module: str) -> Groups:
    """The names of the family's members, which are read from their records, by section."""
    groups: dict[str, list[str]] = {section: [] for section in SECTIONS}
    for record in RECORDS:
        if module == "jaxdrop":
            groups[record.section] += record.functions
        else:
            groups[record.section] += layer_names(record, nnx=module == "jaxdrop.nnx")
    return {section: tuple(names) for section, names in groups.items()}


def public(module: str) -> set[str]:
    """The names that a module offers: not its submodules, nor what begins with an underscore."""
    found = vars(importlib.import_module(module)).items()
    names = {name for name, value in found if name[0] != "_" and not inspect.ismodule(value)}
    return names - {"TYPE_CHECKING"}


def groups(module: str) -> Groups:
    """The names of a module's page, in its order; "More" has those that are in no group here."""
    if module == "jaxdrop":
        named = members(module) | FUNCTIONS
    elif module in ("jaxdrop.linen", "jaxdrop.nnx"):
        named = members(module) | LAYERS
    else:
        named = OTHERS[module]
    rest = public(module).difference(*named.values())
    return named | ({"More": tuple(sorted(rest))} if rest else {})


def page(module: str) -> str:
    """The source of a module's page; Sphinx makes a page of each name from its docstring."""
    parts = [f"# {module}\n\n{ABOUT[module]}"]
    for heading, names in groups(module).items():
        listed = "\n".join(f"   {name}" for name in names)
        parts.append(
            f"## {heading}\n\n```{{eval-rst}}\n.. currentmodule:: {module}\n\n"
            f".. autosummary::\n   :toctree: names\n   :nosignatures:\n\n{listed}\n```"
        )
    return "\n\n".join(parts) + "\n"


def file_name(module: str) -> str:
    return f"{module}.md"


def index() -> str:
    """The source of the page that lists the modules."""
    rows = "\n".join(f"| [{name}]({file_name(name)}) | {about} |" for name, about in ABOUT.items())
    pages = "\n".join(map(file_name, ABOUT))
    return (
        "# Reference\n\nEvery public name, from its docstring; the tests run the examples.\n\n"
        f"| module | what is in it |\n|---|---|\n{rows}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    )
