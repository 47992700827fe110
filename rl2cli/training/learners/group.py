"""The learners of a run, connected: sums over all of them, and messages from the first to the others."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from rl2cli.algorithms.gradient_shards import GradientShards, halved, pairwise_sum
from rl2cli.errors import RL2Error, UsageError
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.learners.packing import Layout, allocate, pack, unpack
from rl2cli.training.learners.place import START, Place
from rl2cli.training.learners.presence import LearnerLostError, Presence, store_timeout

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store
    from torch.distributed import Work

JOIN_SECONDS = 300.0
"""How long learners wait for each other to come, once the first one is there."""
EXCHANGE_SECONDS = 600.0
"""How long one exchange of tensors may take; a learner that is gone is found much sooner."""
LOOK_SECONDS = 1.0
"""Seconds between looks at who is still there while something is waited for."""
GOODBYE_SECONDS = 5.0
"""How long the others are given to leave, and torch to take connections down that lead nowhere."""


class Learners:
    """All learners of a run, of which this process is one; nothing is connected before `join`.

    Args:
        place: Which one this is.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.device = torch.device("cpu")
        """Where this learner has its tensors; settled by `open`."""
        self._store: Store | None = None
        self._presence: Presence | None = None
        self._messages = 0
        self.is_open = False
        """Whether all are connected."""

    # --- coming together ---

    def join(self) -> None:
        """Meet the others, and wait until all are there.

        Raises:
            RL2Error: One of them does not come, or ends.
            UsageError: One of them has another version of rl2 or torch.
        """
        from torch._C._distributed_c10d import PrefixStore, TCPStore

        place = self.place
        if place.is_one_machine:
            _bind_to_loopback()
        waits = timedelta(seconds=JOIN_SECONDS)
        by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        with _explained(f"the learners cannot meet at {place.address}:{place.port}"):
            server = TCPStore(
                place.address, place.port, None, place.rank == 0 and not by_torchrun, waits, wait_for_workers=False
            )
            self._store = PrefixStore("rl2", server)
            own = TCPStore(place.address, place.port, None, False, waits, wait_for_workers=False)
            own.set_timeout(store_timeout())
            self._presence = Presence(PrefixStore("rl2", own), place)
            self._wait_for("who/0")  # which may build environments for long first
            for rank in range(1, place.learners):
                self._wait_for(f"who/{rank}", otherwise=f"learner {rank} of {place.learners} has not come")
        if place.rank == 0:
            self._require_equal_versions(self._presence)

    def open(self, device: torch.device) -> None:
        """Connect the learners, all of which call this, for tensors on `device`."""
        import torch.distributed as dist

        self.device = device
        kinds = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        timeout = timedelta(seconds=EXCHANGE_SECONDS)
        assert self._store is not None
        self._store.set(f"ready/{self.place.rank}", "")
        for rank in range(self.place.learners):  # one that cannot get ready is named; torch would wait for it
            self._wait_for(f"ready/{rank}")
        with _explained("the learners could not be connected"):
            dist.init_process_group(
                kinds, store=self._store, rank=self.place.rank, world_size=self.place.learners, timeout=timeout
            )
        self.is_open = True

    def farewell(self, words: str = "") -> list[str]:
        """Leave once all others have; name those that have not done so after a moment. Of the first learner alone."""
        missing = []
        if self._presence is not None:
            self._presence.leave(words)
            missing = self._presence.wait_for_leaving(GOODBYE_SECONDS)
        self.close(words)
        return missing

    def close(self, words: str = "") -> bool:
        """Leave; `words` say why where it is an error. Return whether torch has let go of all connections.

        It waits for a learner that was cut off until the time of an exchange is over, here and when the process ends.
        """
        if self._presence is not None:
            self._presence.leave(words)
        if not self.is_open:
            return True
        self.is_open = False
        if not words:
            _disconnect(abort=False)
            return True
        leaving = threading.Thread(target=_disconnect, kwargs={"abort": True}, name="rl2-leaving", daemon=True)
        leaving.start()
        leaving.join(GOODBYE_SECONDS)
        return not leaving.is_alive()

    # --- gradients ---

    def shards(self, scale: ScaleSpec) -> GradientShards:
        """Return this learner's part of every gradient."""
        place = self.place
        if not scale.deterministic:
            return GradientShards(place.learners, range(place.rank, place.rank + 1), self._sum)
        each = scale.gradient_shards // place.learners
        own = range(place.rank * each, (place.rank + 1) * each)
        return GradientShards(scale.gradient_shards, own, self._sum_in_order(scale.gradient_shards))

    def _sum(self, parts: list[torch.Tensor]) -> torch.Tensor:
        import torch.distributed as dist

        (total,) = parts
        self._complete(dist.all_reduce, total)
        return total

    def _sum_in_order(self, count: int) -> Callable[[list[torch.Tensor]], torch.Tensor]:
        import torch.distributed as dist

        def combine(parts: list[torch.Tensor]) -> torch.Tensor:
            own = torch.stack(halved(parts, count))
            everyone = own.new_empty(self.place.learners, *own.shape)
            self._complete(dist.all_gather, list(everyone.unbind()), own)
            return pairwise_sum(everyone.flatten(0, 1).unbind())

        return combine

    # --- messages ---

    def send(self, content: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None = None) -> None:
        """Tell all others `content`, which is JSON, with `tensors`; of the first learner alone."""
        import torch.distributed as dist

        assert self._store is not None
        layout, buffers = pack(tensors or {})
        with _explained("the learners cannot be told"):
            self._store.set(f"message/{self._messages}", json.dumps({"content": content, "layout": layout}))
            if buffers:
                for buffer in buffers:
                    self._complete(dist.broadcast, buffer, 0)
                self._store.delete_key(f"message/{self._messages - 1}")  # all have read it: they took part in this one
        self._messages += 1

    def receive(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Wait for the next message of the first learner and return it.

        Raises:
            LearnerLostError: The first learner is gone.
        """
        import torch.distributed as dist

        key = f"message/{self._messages}"
        self._wait_for(key)
        assert self._store is not None
        with _explained("the first learner cannot be heard"):
            message = json.loads(self._store.get(key))
        self._messages += 1
        layout: Layout = message["layout"]
        buffers = allocate(layout, self.device)
        for buffer in buffers:
            self._complete(dist.broadcast, buffer, 0)
        return message["content"], unpack(layout, buffers)

    # --- who is there ---

    def hurry(self) -> None:
        """Wait for nobody any longer than has to be: all are about to end."""
        if self._presence is not None:
            self._presence.hurry()

    @property
    def answers(self) -> int | None:
        """How often whoever keeps the others' messages has answered; None before this learner has joined."""
        return None if self._presence is None else self._presence.answers

    def _lost(self, ranks: tuple[int, ...]) -> LearnerLostError:
        assert self._presence is not None
        names = [self._presence.describe(rank) for rank in ranks]
        gone = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} gone"
        said = [f"{self._presence.describe(rank)} has ended: {why}" for rank, why in self._presence.errors().items()]
        message = gone if names else said[0] if said else "another learner has ended"
        hint = f"go on from the last checkpoint: {START} resume RUN"
        return LearnerLostError(message, hint=hint, ranks=ranks)

    def _complete(self, exchange: Callable[..., Work | None], *arguments: object) -> None:
        """Take part in an exchange of torch.distributed, and look now and then at who is still there."""
        try:
            work = exchange(*arguments, async_op=True)
            assert work is not None
            if self.device.type == "cuda":
                work.wait()  # a GPU's exchange: only orders the stream
                return
            while not _is_done(work):
                self._require_all()
        except RuntimeError as error:  # what torch.distributed has for every failure
            raise self._failed() from error

    def _failed(self) -> LearnerLostError:
        assert self._presence is not None
        return self._lost(self._presence.who_is_gone())

    def _require_all(self) -> None:
        if self._presence is not None and self._presence.has_failed():
            raise self._failed()

    def _wait_for(self, key: str, otherwise: str | None = None) -> None:
        """Wait until the store has `key`, for `JOIN_SECONDS` where `otherwise` says what is wrong then."""
        assert self._store is not None
        began = time.monotonic()
        while True:
            try:
                self._store.wait([key], timedelta(seconds=LOOK_SECONDS))
            except RuntimeError as error:
                if "imeout" not in str(error) and "imed out" not in str(error):
                    raise self._failed() from error
            else:
                return
            if otherwise is None:
                self._require_all()
            elif time.monotonic() - began > JOIN_SECONDS:
                raise RL2Error(otherwise, hint="are all started, and does nothing keep the machines apart?")

    def _require_equal_versions(self, presence: Presence) -> None:
        own = presence.card(self.place.rank)["versions"]
        for rank in range(self.place.learners):
            theirs = presence.card(rank).get("versions", own)
            if theirs != own:
                raise UsageError(
                    f"{presence.describe(rank)} has {_in_words(theirs)}, this one {_in_words(own)}",
                    hint="install the same versions everywhere: other ones learn with other bits",
                )


def _in_words(versions: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in versions.items())


def _disconnect(*, abort: bool) -> None:
    import torch.distributed as dist

    with suppress(RuntimeError):
        world = dist.group.WORLD
        if abort and world is not None:
            world.abort()
        dist.destroy_process_group()


def _is_done(work: Work) -> bool:
    """Wait for a moment; return whether the exchange is complete."""
    try:
        work.wait(timedelta(seconds=LOOK_SECONDS))
    except RuntimeError:
        if not work.is_completed():
            return False
        work.wait()  # raises what went wrong, if anything did
    return True


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RL2Error(f"{what}: {reason[0][:200]}", hint="do all learners run, and reach each other?") from error


def _bind_to_loopback() -> None:
    """Have the learners' own connections nowhere but on this machine, where all of them are."""
    names = [name for _, name in socket.if_nameindex()] if hasattr(socket, "if_nameindex") else []
    loopback = next((name for name in ("lo", "lo0") if name in names), None)
    if loopback is not None:
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, loopback)
