"""What an ensemble will take, and what became of its members → the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from postsense.commands.results import METRICS
from postsense.config import Config
from postsense.config.members import is_run, member_config
from postsense.training.ensemble.costs import cost_of


def announcement(config: Config, posts: int) -> str:
    """What is about to be trained, and about how long that takes."""
    names = config.ensemble.all_members
    members = {name: member_config(config, name) for name in names if not is_run(name)}
    seconds = cost_of(config, members, posts).total
    shown = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return (
        f"{posts} posts of train, effort '{config.ensemble.effort}': {', '.join(names)}. About"
        f" {shown} on two idle cores, less where posts are encoded already."
    )


def member_table(report: Mapping[str, Any]) -> Table:
    """How good each member is on posts that it had not seen, and how much it counts.

    report: of a seed.
    """
    table = Table("member", "weight", *METRICS.values())
    for member in report["members"]:
        scores = _scores(member["folds"])
        table.add_row(member["name"], f"{member['weight']:.2f}", *scores)
    table.add_row("all together", "", *_scores(report["folds"]))
    return table


def _scores(measured: Mapping[str, float]) -> list[str]:
    """Each metric, or "-" where too few posts were there to measure."""
    return [f"{measured[name]:.4f}" if name in measured else "-" for name in METRICS]


def pool_line(report: Mapping[str, Any]) -> str:
    """How the answers of the members are joined."""
    pool = report["pool"]
    if pool["trust"] == 0:
        return (
            "labels look random: no member tells them better than the shares of the classes do, and"
            " the most frequent class is the answer to every post"
        )
    ways = {
        "equal": "members count alike",
        "borrowed comments too": "members count alike, one with borrowed comments among them",
        "selection": "members were added one by one, as often as each helped",
        "stacking": "members have the weights of the least loss",
        "words alone": "the pictures do not help: members that read words count alike",
        "pictures alone": "the words do not help: members that read pictures count alike",
    }
    shift = f"; rare classes are raised by tau {pool['prior_shift']:.1f}"
    return ways[report["weights_by"]] + (shift if pool["prior_shift"] else "")
