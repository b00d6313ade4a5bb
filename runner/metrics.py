"""What a run counts: the names, the labels, and one function for each number.

Counts through a meter of Temporal's, so a workflow that replays its history counts nothing twice, and a
worker without an endpoint for metrics counts nothing at all. Labels hold few values: states, kinds, toolkits,
tasks that have a file, models that answered. No goal, argument, id or secret becomes a label.
"""

import re

from temporalio.common import MetricMeter

from schemas.run import Outcome, StepState, Usage

RUNS = "goalfile_runs_total"
STEPS = "goalfile_steps_total"
TOKENS = "goalfile_tokens_total"
COST = "goalfile_cost_microdollars_total"
"""Temporal's counters are whole numbers, and neither a gauge nor a histogram adds up over restarts and workers."""
UNKNOWN = "goalfile_unknown_effects_total"
WAITING = "goalfile_waiting_total"


def count_run(meter: MetricMeter, outcome: Outcome, task: str) -> None:
    """One run ended. `task` is empty for a run without a file: its name is anybody's choice."""
    counter = meter.create_counter(RUNS, "Runs that ended, by task and outcome.")
    counter.add(1, {"task": label(task or "ad-hoc"), "outcome": outcome})


def count_step(meter: MetricMeter, kind: str, state: StepState) -> None:
    """One model turn (`turn`) or tool call (`call`) ended in this state."""
    counter = meter.create_counter(STEPS, "Model turns and tool calls that ended, by state.")
    counter.add(1, {"kind": label(kind), "state": state})


def count_tokens(meter: MetricMeter, usage: Usage, model: str) -> None:
    """What one model turn read and wrote, in tokens. `model` is the one that answered."""
    counter = meter.create_counter(TOKENS, "Tokens that models read and wrote.")
    for kind, tokens in (
        ("input", usage.input_tokens),
        ("output", usage.output_tokens),
        ("cache_read", usage.cache_read_tokens),
        ("cache_write", usage.cache_write_tokens),
    ):
        if tokens > 0:
            counter.add(tokens, {"kind": kind, "model": label(model)})


def count_cost(meter: MetricMeter, dollars: float | None) -> None:
    """What one model turn cost. None, an unknown price, counts as nothing: no guess gets into a sum."""
    if dollars is not None and dollars > 0:
        counter = meter.create_counter(COST, "Known cost of model turns, in millionths of a dollar.")
        counter.add(round(dollars * 1_000_000), {})


def count_unknown(meter: MetricMeter, toolkit: str) -> None:
    """One effect of which nobody knows whether it was made."""
    counter = meter.create_counter(UNKNOWN, "Effects of which nobody knows whether they were made.")
    counter.add(1, {"toolkit": label(toolkit)})


def count_waiting(meter: MetricMeter, kind: str) -> None:
    """A run began to wait for a person. How many wait now is a question to Temporal's visibility."""
    counter = meter.create_counter(WAITING, "Times that a run began to wait for a person, by what it waits for.")
    counter.add(1, {"kind": label(kind)})


def label(text: str) -> str:
    """The text if it is a short name, else `other`: no sentence becomes a label, whoever wrote it."""
    return text if re.fullmatch(r"[A-Za-z0-9_.:/@-]{1,64}", text) else "other"
