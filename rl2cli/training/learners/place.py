"""Which of several learners this process is, as torchrun says in the environment. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rl2cli.errors import UsageError
from rl2cli.spec.model import RunSpec, ScaleSpec

START = "torchrun --nproc-per-node K -m rl2cli"
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
_OTHERS = ("MASTER_ADDR", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE")


@dataclass(frozen=True)
class Place:
    """This learner among all."""

    rank: int
    """The first, 0, steps the environments and writes the run folder."""
    learners: int
    local_rank: int
    """Its number on this machine, which is that of its GPU."""
    local_learners: int
    """Learners on this machine."""
    address: str
    """Host name of the first one's machine."""
    port: int

    @property
    def is_one_machine(self) -> bool:
        """Whether all learners are on this machine."""
        return self.local_learners == self.learners


def find_place(environ: Mapping[str, str]) -> Place | None:
    """Return the place of this process among those that torchrun started; None where it did not.

    Raises:
        UsageError: The environment says that there are several learners, but not which of them this one is.
    """
    if "WORLD_SIZE" not in environ:
        return None
    missing = [name for name in (*_NUMBERS, "MASTER_ADDR") if not environ.get(name)]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is set, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not",
            hint=f"`{START} train SPEC` sets all that several learners need; for one learner, unset WORLD_SIZE",
        )
    try:
        rank, learners, local_rank, local_learners, port = (int(environ[name]) for name in _NUMBERS)
    except ValueError:
        rank = learners = local_rank = local_learners = port = -1
    if not (0 <= local_rank < local_learners <= learners and local_rank <= rank < learners and 0 < port < 2**16):
        said = " ".join(f"{name}={environ[name][:20]}" for name in _NUMBERS)
        raise UsageError(
            f"these are no learners: {said}",
            hint=f"`{START} train SPEC` sets them; for one learner, unset WORLD_SIZE",
        )
    return Place(rank, learners, local_rank, local_learners, environ["MASTER_ADDR"], port)


def is_of_torchrun(name: str) -> bool:
    """Return whether torchrun sets this variable of the environment to say which learner a process is."""
    return name in (*_NUMBERS, *_OTHERS) or name.startswith("TORCHELASTIC_")


def for_learners(spec: RunSpec, place: Place | None) -> RunSpec:
    """Return the spec of a new run with `[scale]`, which torchrun implies.

    Raises:
        UsageError: So many learners cannot share its gradients evenly.
    """
    if place is None:
        return spec
    shared = spec if spec.scale is not None else spec.model_copy(update={"scale": ScaleSpec()})
    require_even_shares(shared, place)
    return shared


def require_even_shares(spec: RunSpec, place: Place | None) -> None:
    """Check that every learner has as many gradient shards.

    Raises:
        UsageError: They have not, or the run was begun as one that has none.
    """
    learners = 1 if place is None else place.learners
    if spec.scale is None:
        if learners > 1:
            raise UsageError(
                f"this run was begun for one learner, without [scale], and cannot go on with {learners}",
                hint="resume it without torchrun; a run that torchrun starts can go on with any number of learners",
            )
        return
    shards = spec.scale.gradient_shards
    if spec.scale.deterministic and shards % learners:
        fits = [str(count) for count in range(1, shards + 1) if shards % count == 0]
        raise UsageError(
            f"{learners} learners cannot share {shards} gradient shards evenly",
            hint=f"start {_either(fits)}, or a new run with --set scale.gradient_shards={_multiple(shards, learners)}",
            place="scale.gradient_shards",
        )


def _multiple(shards: int, learners: int) -> int:
    return -(-shards // learners) * learners


def _either(numbers: list[str]) -> str:
    return numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} or {numbers[-1]}"
