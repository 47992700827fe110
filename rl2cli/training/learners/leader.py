"""The first learner's side: it collects and writes, and has the others learn from what it collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch

from rl2cli.errors import RL2Error, Stopped
from rl2cli.keys import Trajectories
from rl2cli.segment import Segment
from rl2cli.spec import spec_to_dict
from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.link import end_without_torch, ending_where_cut_off
from rl2cli.training.learners.place import Place
from rl2cli.training.learners.presence import LearnerLostError
from rl2cli.training.machine_facts import plugin_facts
from rl2cli.training.state_tree import flatten

if TYPE_CHECKING:
    from rl2cli.training.build import Parts

BEGIN, STATE, SEGMENT, ROLLOUT, END = "begin", "state", "segment", "rollout", "end"
"""Kinds of messages."""


class Leader:
    """What the first of several learners tells the others; see `follower.follow`.

    Args:
        learners: All of them.
    """

    def __init__(self, learners: Learners) -> None:
        self.learners = learners

    def begin(self, parts: Parts) -> None:
        """Have the others build what this one has built.

        Raises:
            RL2Error: One of them does not come, ends, or has other versions.
        """
        self.learners.join()
        plugins = [plugin_facts(plugin) for plugin in parts.classes]
        self.learners.send({"kind": BEGIN, "spec": spec_to_dict(parts.plan.spec), "plugins": plugins})
        self.learners.open(parts.algorithm.task.device)

    def send_state(
        self, state: Mapping[str, Any], generators: Mapping[str, torch.Tensor], segments: Sequence[Segment] = ()
    ) -> None:
        """Give the others the algorithm's state, the states of its generators, and the segments of its replay."""
        tensors, tree = flatten({"algorithm": dict(state), "generators": dict(generators)})
        self.learners.send({"kind": STATE, "tree": tree, "segments": len(segments)}, tensors)
        for segment in segments:  # one after the other: a replay is in no memory twice
            self.learners.send({"kind": SEGMENT}, segment.content())

    def send_rollout(self, trajectories: Trajectories, frames: int) -> None:
        """Have the others learn from a rollout, with which there are so many frames."""
        tensors, tree = flatten(trajectories)
        self.learners.send({"kind": ROLLOUT, "tree": tree, "frames": frames}, tensors)

    def end(self, words: str = "") -> list[str]:
        """Have the others end, `words` say why where it is an error; return those that are not there any more."""
        with suppress(RL2Error):
            self.learners.send({"kind": END})
        return self.learners.farewell(words)


def dismiss(place: Place) -> None:
    """Have the other learners of a run end that has nothing left to learn.

    Raises:
        RL2Error: One of them does not come, or ends.
    """
    leader = Leader(Learners(place))
    leader.learners.join()
    leader.end()


@contextmanager
def leading(parts: Parts) -> Iterator[Leader | None]:
    """Lead the other learners of a run for the block, which they end with, however it ends; None without others.

    Raises:
        RL2Error: See `Leader.begin`.
    """
    if parts.learners is None:
        yield None
        return
    leader = Leader(parts.learners)
    try:
        with ending_where_cut_off(parts.learners):
            leader.begin(parts)
            yield leader
    except LearnerLostError as lost:
        if not parts.learners.close(lost.message):
            end_without_torch(lost.exit_code)
        raise
    except BaseException as error:
        missing = leader.end(str(error))
        if missing and isinstance(error, Stopped):
            error.message += f"; {' and '.join(missing)} had ended before"
        raise
    else:
        leader.end()
