"""Condition dropout: Ho 2022."""

import jaxdrop
from scripts.members._case import Case, TwoPoint
from scripts.members._layer import TABLE, rated
from scripts.members._panel import Panel, square
from scripts.members._record import Record
from scripts.members._timed import Timed, plain

RECORD = Record(
    section="Conditions, graphs, experts",
    after=None,
    method="condition dropout, classifier-free guidance",
    paper="Ho 2022",
    one_decision_for="the condition of an example",
    mean_preserved="no",
    variance_preserved="no",
    use_for="diffusion and flow models that are guided",
    not_for="conditions that are always there",
    cases=(
        Case(
            "condition_dropout",
            TwoPoint(kept=lambda x, rate: x),
            options=lambda x: {"null": 0},
            shared=(1, 2),
            unbiased=False,
            lean=False,  # a bool for each example is kept
            integers=True,
        ),
    ),
    layers=(rated("ConditionDropout", TABLE, {"inputs": "numbers"}, null=0),),
    panels=(
        Panel(
            "condition_dropout", "examples", "features", square(jaxdrop.condition_dropout, null=0)
        ),
    ),
    timed=(Timed("condition_dropout", plain(jaxdrop.condition_dropout, null=0)),),
    helpers=("joint_condition_dropout",),
)
