"""Several learners: their places, what they send each other, who is missed; and two of them as processes."""

from __future__ import annotations

import itertools
import signal
import time
from pathlib import Path
from typing import Any

import learner_processes
import pytest
import torch
from small_runs import spec, train

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.ppo import PPO
from rl2cli.errors import UsageError
from rl2cli.spec import load_spec_dict
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.build import build, choose_threads
from rl2cli.training.learners import link, packing, presence
from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.place import Place, find_place, for_learners, require_even_shares
from rl2cli.training.learners.presence import Presence
from rl2cli.training.learners.shares import require_gpus

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host",
    "MASTER_PORT": "29500",
}


def place(learners: int, rank: int = 0) -> Place:
    return Place(rank, learners, rank, learners, "127.0.0.1", 29500)


def test_the_place_is_what_torchrun_says() -> None:
    assert find_place({}) is None
    assert find_place({"RANK": "3"}) is None  # no word of others
    found = find_place(TORCHRUN)
    assert found == Place(3, 4, 1, 2, "host", 29500)
    assert not found.is_one_machine
    assert place(2).is_one_machine


@pytest.mark.parametrize("missing", [name for name in TORCHRUN if name != "WORLD_SIZE"])
def test_half_an_environment_is_refused(missing: str) -> None:
    with pytest.raises(UsageError, match=f"WORLD_SIZE is set, but {missing} is not") as refused:
        find_place({name: value for name, value in TORCHRUN.items() if name != missing})
    assert "torchrun --nproc-per-node K -m rl2cli train SPEC" in (refused.value.hint or "")


@pytest.mark.parametrize("wrong", [{"RANK": "4"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}, {"MASTER_PORT": "0"}])
def test_places_that_cannot_be_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="these are no learners"):
        find_place(TORCHRUN | wrong)


def test_torchrun_implies_scale() -> None:
    plain = load_spec_dict(spec()).spec
    assert for_learners(plain, None) is plain
    shared = for_learners(plain, place(2))
    assert shared.scale is not None
    assert (shared.scale.deterministic, shared.scale.gradient_shards) == (True, 4)
    own = load_spec_dict(spec(scale={"gradient_shards": 6})).spec
    assert for_learners(own, place(3)) is own


def test_learners_that_do_not_divide_the_shards_are_refused() -> None:
    own = load_spec_dict(spec(scale={"gradient_shards": 4})).spec
    with pytest.raises(UsageError, match="3 learners cannot share 4 gradient shards evenly") as refused:
        for_learners(own, place(3))
    assert refused.value.hint == "start 1, 2 or 4, or a new run with --set scale.gradient_shards=6"
    assert refused.value.place == "scale.gradient_shards"
    averaged = load_spec_dict(spec(scale={"deterministic": False})).spec
    require_even_shares(averaged, place(3))


def test_a_run_that_was_begun_for_one_learner_stays_so() -> None:
    plain = load_spec_dict(spec()).spec
    require_even_shares(plain, place(1))
    with pytest.raises(UsageError, match="begun for one learner, without \\[scale\\], and cannot go on with 2"):
        require_even_shares(plain, place(2))


def test_with_scale_a_run_is_eager_and_says_so() -> None:
    parts = build(load_spec_dict(spec(compile=True, scale={"gradient_shards": 3})).spec)
    parts.close()
    assert parts.plan.spec.compile is False
    assert "update eager: its gradients are made of shards" in parts.plan.choices
    assert "every gradient is made of 3 shards: the same bits for any number of learners" in parts.plan.choices
    shards = [module.shards for module in parts.algorithm.modules() if isinstance(module, FlatAdam)]
    assert [(each.count, each.own) for each in shards if each is not None] == [(3, range(3))]


def test_each_learner_has_its_own_shards() -> None:
    owns = [Learners(place(3, rank)).shards(ScaleSpec(gradient_shards=12)).own for rank in range(3)]
    assert owns == [range(4), range(4, 8), range(8, 12)]
    averaged = Learners(place(3, 2)).shards(ScaleSpec(deterministic=False, gradient_shards=12))
    assert (averaged.count, averaged.own) == (3, range(2, 3))


def test_an_algorithm_that_shares_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PPO, "shares_gradients", False)
    settings = load_spec_dict(spec(scale={})).spec
    build(settings).close()
    with pytest.raises(UsageError, match="this algorithm learns in one process only"):
        build(settings, learners=Learners(place(2)))


def test_threads_do_not_depend_on_the_number_of_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.training.build.is_large", lambda _: True)
    monkeypatch.setattr("rl2cli.training.build.available_cores", lambda: 16)
    shared = load_spec_dict(spec(threads="auto", scale={})).spec
    parts = build(load_spec_dict(spec()).spec)
    parts.close()
    found = [
        choose_threads(shared, parts.algorithm, each)[0] for each in (None, Learners(place(2)), Learners(place(4)))
    ]
    assert found == [4, 4, 4]
    averaged = load_spec_dict(spec(scale={"deterministic": False})).spec
    assert choose_threads(averaged, parts.algorithm, Learners(place(8)))[0] == 2


def test_each_learner_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_gpus(place(4), torch.device("cpu"))
    require_gpus(place(2), torch.device("cuda"))
    with pytest.raises(UsageError, match="3 learners are on this machine, which has 2 GPUs"):
        require_gpus(place(3), torch.device("cuda"))
    with pytest.raises(UsageError, match="2 learners cannot all be on cuda:1"):
        require_gpus(place(2), torch.device("cuda:1"))


# --- what is sent ---


def _tensors() -> dict[str, torch.Tensor]:
    return {
        "matrix": torch.randn(3, 5),
        "turned": torch.randn(4, 6).T,
        "flags": torch.tensor([True, False, True]),
        "images": torch.randint(256, (2, 3, 4), dtype=torch.uint8),
        "none": torch.zeros(0, 7),
        "count": torch.tensor(2**60),
        "half": torch.randn(9).bfloat16(),
        "double": torch.randn(100, dtype=torch.float64),
    }


@pytest.mark.parametrize("largest", [0, 64, 200, 1 << 26])
def test_packed_tensors_come_back(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LARGEST", largest)
    tensors = _tensors()
    layout, buffers = packing.pack(tensors)
    assert len(buffers) == 1 if largest > 10_000 else len(buffers) > 1
    received = packing.allocate(layout, torch.device("cpu"))
    assert [len(buffer) for buffer in received] == [len(buffer) for buffer in buffers]
    for into, sent in zip(received, buffers, strict=True):
        into.copy_(sent)
    found = packing.unpack(layout, received)
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
        assert found[name].data_ptr() % packing.ALIGNMENT == 0 or not tensor.numel()


def test_a_large_tensor_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LARGEST", 100)
    large = torch.randn(1000)
    _, (buffer,) = packing.pack({"large": large})
    assert buffer.data_ptr() == large.data_ptr()


# --- who is there ---


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two learners that see each other in a store of this process."""
    from torch._C._distributed_c10d import HashStore

    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(presence, "DOUBT_SECONDS", 0.3)
    store = HashStore()
    both = [Presence(store, place(2, rank)) for rank in range(2)]
    yield both
    for each in both:
        each.leave()


def test_a_learner_that_stops_counting_is_lost(pair: list[Presence]) -> None:
    first, second = pair
    time.sleep(0.2)
    assert first.lost(0.15) == second.lost(0.15) == ()
    second._over.set()  # as if it had been killed
    time.sleep(0.3)
    assert first.lost(0.2) == (1,)
    assert first.who_is_gone() == (1,)
    assert f"process {first.card(1)['pid']}" in first.describe(1)


def test_a_learner_that_left_in_words_is_not_gone(pair: list[Presence]) -> None:
    first, second = pair
    assert first.wait_for_leaving(0.05) == [first.describe(1)]
    second.leave("no such environment")
    assert first.wait_for_leaving(1.0) == []
    assert first.last_words(1) == "no such environment"
    assert first.who_is_gone() == ()


# --- two of them ---

SMALL: dict[str, Any] = {"total_frames": 256, "num_envs": 4, "logging": {"tensorboard": False}}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="starts processes as torchrun does on POSIX")
def test_two_learners_have_the_bits_of_one(tmp_path: Path) -> None:
    settings = spec(**SMALL, scale={"gradient_shards": 2})
    name = learner_processes.write_spec(tmp_path, settings)
    with learner_processes.started(2, tmp_path, "train", name, "--run-dir", "two", "-q") as processes:
        alone = train(tmp_path, settings, "alone")
        ended = [process.communicate(timeout=learner_processes.SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert ended == [("two\n", ""), ("", "")]
    assert learner_processes.digest(tmp_path / "two") == learner_processes.digest(alone)
    plain = train(tmp_path, spec(**SMALL), "plain")
    assert learner_processes.digest(plain).parts["weights"] != learner_processes.digest(alone).parts["weights"]


@pytest.mark.parametrize(("answers", "ends"), [([5], True), ([None], False), (range(1000), False)])
def test_a_learner_whose_questions_hang_ends_itself(
    answers: Any, ends: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = itertools.cycle(answers)
    left: list[int] = []

    class Others:
        answers = property(lambda self: next(said))

    monkeypatch.setattr(link, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(link, "CUT_OFF_AFTER", 0.05)
    monkeypatch.setattr(link.os, "_exit", left.append)
    with link.ending_where_cut_off(Others()):  # type: ignore[arg-type]
        until = time.monotonic() + (10.0 if ends else 0.3)
        while not left and time.monotonic() < until:
            time.sleep(0.01)
    assert set(left) == ({1} if ends else set())
    assert ("error: the other learners cannot be reached: nothing answers for" in capsys.readouterr().err) == ends
