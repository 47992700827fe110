"""Training from the outside: start a run, or go on with one; both end with a summary."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rl2cli import __version__
from rl2cli.durable import write_text_atomic
from rl2cli.errors import NonFiniteError, RL2Error, Stopped, StorageError, UsageError
from rl2cli.plugins.lookup import look_from
from rl2cli.reporting.progress import Rates, RunFacts, Status, Summary
from rl2cli.reporting.summary import shown_path
from rl2cli.reporting.view import View
from rl2cli.spec import LoadedSpec, dump_spec, resumed_spec, spec_to_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.build import Parts, build, is_limited, on_this_machine
from rl2cli.training.checkpoint import Checkpoint, CheckpointStore
from rl2cli.training.checkpoint_format import folder_name
from rl2cli.training.filming import Filming, environment_maker
from rl2cli.training.journal import Journal
from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.leader import Leader, leading
from rl2cli.training.learners.place import START, Place, for_learners, require_even_shares
from rl2cli.training.learners.presence import LearnerLostError
from rl2cli.training.machine_facts import machine_facts
from rl2cli.training.migration import WRITTEN_BY, migrated, refused_in_words
from rl2cli.training.nan_report import write_nan_report
from rl2cli.training.plugin_changes import changed_plugins
from rl2cli.training.repeated import continued, require_same_run, standing
from rl2cli.training.resume_notice import of_episodes, of_segments
from rl2cli.training.run_folder import RunFolder, find_run, read_json
from rl2cli.training.signals import ECHO_SECONDS, StopRequest
from rl2cli.training.trainer import Schedule, Trainer
from rl2cli.training.trial import measure


def train(
    loaded: LoadedSpec,
    *,
    view: View,
    run_dir: Path | None = None,
    command: Sequence[str] = (),
    root: Path = Path("outputs"),
    place: Place | None = None,
    again: bool = False,
) -> Summary:
    """Train what the spec says and return how it ended.

    Args:
        loaded: The validated spec.
        view: What the user sees.
        run_dir: Folder of the run; `root/<name>/<UTC time>-s<seed>` where left out.
        command: The command line, for the record.
        root: Where runs are kept.
        place: That of this process, the first, among several learners; None where it learns alone.
        again: Whether `run_dir` may hold this run already, which then goes on; see `repeated.standing`.

    Raises:
        RL2Error: See `rl2cli.errors`; `Stopped` after a signal, once everything is saved.
    """
    name, seed = loaded.spec.name, loaded.spec.seed
    if again and run_dir is not None:
        there = standing(run_dir)
        if there in ("saved", "ended"):
            return _go_on(run_dir, view, None, command, place, loaded.spec)
        if there == "begun":
            require_same_run(loaded.spec, run_dir)
            view.message(f"the run in {run_dir} had not saved anything yet: it begins anew")
    parts = build_loaded(
        loaded, view.message, run_dir or root, place
    )  # there is nothing to save: signals act as they did before
    try:
        with (
            leading(parts) as leader,
            StopRequest(echo_seconds=_echo_seconds(place, again)) as stop,
            RunFolder.create(root, name, seed, run_dir, again=again) as folder,
        ):
            write_text_atomic(folder.spec, loaded.text)
            write_text_atomic(folder.resolved, dump_spec(parts.plan.spec))
            return _Session(parts, folder, view, command, leader=leader).run(stop, None)
    finally:
        parts.close()


def describe_plan(loaded: LoadedSpec, place: Place | None = None) -> dict[str, Any]:
    """Build what the spec says, train nothing, and return its sizes and every automatic choice, for `--dry-run`.

    The expected time is that of an untrained rollout and update, times the number of them.

    Raises:
        RL2Error: See `rl2cli.errors`.
    """
    parts = build_loaded(loaded, None, Path("outputs"), place)
    try:
        trial = measure(parts)
        spec = parts.plan.spec
        return {
            "name": spec.name,
            "observation_space": " ".join(str(parts.env.observation_space).split()),
            "action_space": " ".join(str(parts.env.action_space).split()),
            "environments": spec.env.num_envs,
            "resume": parts.env.resume,
            "rollout_length": parts.algorithm.rollout_length,
            "frames_per_iteration": trial.frames,
            "iterations": -(-spec.total_frames // trial.frames),
            "parameters": sum(parameter.numel() for parameter in parts.algorithm.parameters()),
            "rollout_megabytes": round(trial.rollout_bytes / 1e6, 3),
            **({"replay_megabytes": round(kept / 1e6, 3)} if (kept := parts.algorithm.memory_bytes) else {}),
            "device": spec.device,
            "threads": spec.threads,
            "workers": spec.env.workers,
            "precision": spec.precision,
            "compile": spec.compile,
            "overlap": spec.overlap,
            "choices": list(parts.plan.choices),
            "expected_seconds": round(trial.seconds * spec.total_frames / trial.frames, 1),
            "expected_frames_per_second": round(trial.frames / trial.seconds),
        }
    finally:
        parts.close()


def resume(
    run: str | None,
    *,
    view: View,
    total_frames: int | None = None,
    overrides: Sequence[str] = (),
    command: Sequence[str] = (),
    place: Place | None = None,
) -> Summary:
    """Go on with a run from its newest valid checkpoint and return how it ended.

    Args:
        run: A run's folder, `"latest"` or None for the last one started here.
        view: What the user sees.
        total_frames: New total of frames, kept by later resumes; schedules keep the total they began with.
        overrides: Arguments of `--set` that change who steps the environments, kept by later resumes too.
        command: The command line, for the record.
        place: See `train`; their number may differ from the one that the run began with.

    Raises:
        RL2Error: See `rl2cli.errors`.
    """
    return _go_on(find_run(run).path, view, total_frames, command, place, overrides=overrides)


def _go_on(
    path: Path,
    view: View,
    total_frames: int | None,
    command: Sequence[str],
    place: Place | None,
    asked: RunSpec | None = None,
    overrides: Sequence[str] = (),
) -> Summary:
    """Go on with the run in `path`, where `asked` is the spec that it has to be a run of; None for any."""
    hint = f"nothing is lost; go on with: rl2 resume {path}"
    with StopRequest(hint, _echo_seconds(place, asked is not None)) as stop, RunFolder.open(path) as folder:
        folder.lock()
        store = CheckpointStore(folder.checkpoints)
        _announce(view, of_segments(folder.checkpoints))
        checkpoint = store.newest()
        store.close()
        _announce(view, of_episodes(checkpoint))
        look_from(folder.path.absolute())
        begun = resumed_spec(checkpoint.metadata["spec"], overrides)
        spec, moved = on_this_machine(begun if asked is None else continued(asked, begun, path))
        require_even_shares(spec, place)
        checkpoint.notes.extend(moved)
        if total_frames is not None and total_frames <= checkpoint.frames:
            raise UsageError(
                f"the run has {checkpoint.frames:,} frames already", hint="--frames is the new total: give a larger one"
            )
        total_frames = total_frames or checkpoint.metadata.get("total_frames")
        parts = build(spec, view.message, folder.checkpoints, total_frames, _learners(place))
        checkpoint.notes.extend(changed_plugins(folder.path, spec))
        try:
            with leading(parts) as leader:
                return _Session(parts, folder, view, command, total_frames, leader).run(stop, checkpoint)
        finally:
            parts.close()


def build_loaded(
    loaded: LoadedSpec, announce: Callable[[str], None] | None, folder: Path, place: Place | None = None
) -> Parts:
    """Build what `loaded` says; an error that blames a setting has the line that it stands in.

    For a dry run, where `announce` is None, no other learners are asked for.

    Raises:
        RL2Error: See `rl2cli.errors`.
    """
    try:
        learners = None if announce is None else _learners(place)
        parts = build(for_learners(loaded.spec, place), announce, folder, learners=learners)
        try:
            parts.start_from_another()
        except BaseException:
            parts.close()
            raise
        return parts
    except UsageError as error:
        placed = loaded.placed(error)
        if placed is error:
            raise
        raise placed from error


class _Session:
    """One process's part of a run: from its start, or from a checkpoint, to where it stops."""

    def __init__(
        self,
        parts: Parts,
        folder: RunFolder,
        view: View,
        command: Sequence[str],
        total_frames: int | None = None,
        leader: Leader | None = None,
    ) -> None:
        self.parts, self.folder, self.view, self.leader = parts, folder, view, leader
        self.spec: RunSpec = parts.plan.spec
        self.command = list(command) or sys.argv
        self.total_frames = total_frames or self.spec.total_frames

    def run(self, stop: StopRequest, checkpoint: Checkpoint | None) -> Summary:
        """Train to the end, whatever that is, and leave a summary."""
        start_frames = 0 if checkpoint is None else checkpoint.frames
        offset = 0 if checkpoint is None else int(checkpoint.metadata["metrics_offset"])
        store = CheckpointStore(self.folder.checkpoints, self.spec.checkpoint.keep)
        journal = Journal(
            self.folder,
            tensorboard=self.spec.logging.tensorboard,
            start_frames=start_frames,
            metrics_offset=offset,
            metrics_sha256=None if checkpoint is None else checkpoint.metadata.get("metrics_sha256"),
            warn=self._warn,
        )
        facts = threading.Thread(target=self._record_facts, args=(checkpoint,), name="rl2-run-json")
        facts.start()
        trainer = Trainer(
            self.parts.algorithm,
            self.parts.env,
            self.parts.evaluator,
            store,
            journal,
            self.view,
            self._schedule(),
            {WRITTEN_BY: __version__, "spec": spec_to_dict(self.spec), "total_frames": self.total_frames},
            self.parts.actor,
            self._filming(journal),
            self.parts.sharding,
            tell=None if self.leader is None else self.leader.send_rollout,
        )
        status: Status = "failed"
        try:
            self._share_state(checkpoint)
            notes = [] if checkpoint is None else [*checkpoint.notes, *_restore(trainer, checkpoint)]
            notes += self.parts.start.warnings if self.parts.start else ()
            self.view.start(self._facts(None if checkpoint is None else start_frames))
            for note in [*notes, *([journal.problem] if journal.problem else [])]:
                self.view.message(note, warning=True)
                journal.event("note", start_frames, text=note)
            journal.event(
                "start" if checkpoint is None else "resume", start_frames, choices="; ".join(self.parts.plan.choices)
            )
            stop.at_once = False
            status = trainer.run(stop)
        except RL2Error as error:
            if isinstance(error, NonFiniteError):
                self._report_numbers(trainer, error)
            if isinstance(error, LearnerLostError):
                error.hint = f"go on with any number of learners: {START} resume {self.folder.path}"
            journal.event("failed", trainer.frames, error=error.message)
            if error is trainer.saver.error:
                raise self._unsaved(trainer, error) from error
            raise
        except KeyboardInterrupt:
            status = "stopped"
            raise
        finally:
            trainer.close()
            facts.join()
            summary = self._finish(trainer, status)
            self._close_store(store)  # before the journal, which a save pushes to the disk
            journal.event("end", trainer.frames, status=status)
            journal.close()
        self.view.stop(summary)
        if trainer.saver.error is not None:
            raise self._unsaved(trainer, trainer.saver.error)
        if status == "stopped":
            assert stop.signal_number is not None
            name = signal.Signals(stop.signal_number).name
            raise Stopped(
                f"stopped by {name} and saved after {trainer.frames:,} frames",
                signal_number=stop.signal_number,
                summary=summary.to_json(),
                hint=f"go on with: rl2 resume {self.folder.path}",
            )
        return summary

    def _share_state(self, checkpoint: Checkpoint | None) -> None:
        """Have the other learners begin where this one does, from nothing but what it sends them."""
        if self.leader is None:
            return
        if checkpoint is None:
            algorithm = self.parts.algorithm
            states = {name: generator.get_state() for name, generator in algorithm.generators.items()}
            self.leader.send_state(algorithm.state_dict(), states)
        else:
            with refused_in_words(checkpoint.metadata):
                state = migrated(checkpoint.state)
                self.leader.send_state(state["algorithm"], state["generators"], checkpoint.segments)

    def _unsaved(self, trainer: Trainer, error: RL2Error) -> StorageError:
        """Return the error of the last save, with what there is on the disk, and how to go on from it."""
        message = f"{error.message}; {trainer.saver.on_disk()} of {trainer.frames:,}"
        steps = [*([error.hint] if error.hint else []), f"go on with: rl2 resume {self.folder.path}"]
        return StorageError(message, hint="; then ".join(steps), place=error.place)

    def _warn(self, text: str) -> None:
        self.view.message(text, warning=True)

    def _close_store(self, store: CheckpointStore) -> None:
        """End the thread that saves; a save that fails now is said, and hides no other error."""
        try:
            store.close()
        except StorageError as error:
            self._warn(error.message)

    def _schedule(self) -> Schedule:
        spec = self.spec
        return Schedule(
            seed=spec.seed,
            total_frames=self.total_frames,
            evaluate_every=spec.evaluation.every or max(1, spec.total_frames // 20),
            checkpoint_every=spec.checkpoint.every or max(1, spec.total_frames // 10),
            target_return=spec.evaluation.target_return,
            record_every=spec.logging.every or max(1, spec.total_frames // 2000),
            on_storage_error=spec.checkpoint.on_storage_error,
        )

    def _filming(self, journal: Journal) -> Filming | None:
        spec = self.spec
        if spec.video is None:
            return None
        make_env, folder = environment_maker(spec, spec.device), self.folder.videos
        keep_env = is_limited(spec)
        return Filming(
            spec.video, spec.total_frames, make_env, folder, spec.seed, journal, self._warn, keep_env=keep_env
        )

    def _facts(self, resumed_from: int | None) -> RunFacts:
        spec = self.spec
        environment = getattr(spec.env.options, "id", spec.env.backend)
        return RunFacts(
            run_dir=str(self.folder.path),
            name=spec.name,
            seed=spec.seed,
            algorithm=spec.algorithm.name,
            network=spec.network.name,
            environment=str(environment),
            num_envs=spec.env.num_envs,
            device=spec.device,
            threads=int(spec.threads),
            choices=self.parts.plan.choices,
            resumed_from=resumed_from,
            frame_skip=self.parts.env.frame_skip,
        )

    def _record_facts(self, checkpoint: Checkpoint | None) -> None:
        try:
            self._write_run_json(checkpoint)
        except StorageError as error:
            self._warn(error.message)

    def _write_run_json(self, checkpoint: Checkpoint | None) -> None:
        """Record what the run is made with and on; a session that resumes adds itself to the first one's record."""
        facts: dict[str, Any] = {
            **machine_facts(self.parts.classes),
            "command": self.command,
            "name": self.spec.name,
            "seed": self.spec.seed,
            "environment_resume": self.parts.env.resume,
            "plan": {
                "device": self.spec.device,
                "threads": self.spec.threads,
                "workers": self.spec.env.workers,
                "precision": self.spec.precision,
                "compile": self.spec.compile,
                "overlap": self.spec.overlap,
                "learners": 1 if self.leader is None else self.leader.learners.place.learners,
            },
            "choices": list(self.parts.plan.choices),
        }
        if checkpoint is not None:
            first = read_json(self.folder.run_json)
            session = {"resumed_from": checkpoint.frames, "at": datetime.now(UTC).isoformat(), **facts}
            facts = {**first, "resumed": [*first.get("resumed", []), session]} if first else session
        facts.pop("started", None)
        self.folder.write_run_json(facts)

    def _report_numbers(self, trainer: Trainer, error: NonFiniteError) -> None:
        """Leave `nan_report/`, and let the error name it."""
        folder = write_nan_report(self.folder.path, trainer, error)
        if folder is not None:
            error.hint = f"{error.hint}; " if error.hint else ""
            error.hint += f"{shown_path(str(folder))} has the tensors and the last steps"

    def _finish(self, trainer: Trainer, status: Status) -> Summary:
        rates = trainer.pace.measure(trainer.frames) if hasattr(trainer, "pace") else None
        best = trainer.best
        checkpoint = None if best is None else self.folder.checkpoints / folder_name(best.frames)
        unsaved = trainer.saver.error
        summary = Summary(
            run_dir=str(self.folder.path),
            status=status,
            frames=trainer.frames,
            wall_seconds=rates.wall_seconds if rates else 0.0,
            frames_per_second=_training_rate(trainer, rates) if rates else 0.0,
            evaluation=trainer.evaluation,
            best=None if best is None else replace(best, is_best=True),
            best_checkpoint=None if checkpoint is None else str(checkpoint),
            total_frames=self.total_frames,
            tensorboard=self.spec.logging.tensorboard,
            unsaved=None if unsaved is None else f"{unsaved.message}; {trainer.saver.on_disk()}",
            inexact=tuple(trainer.inexact),
        )
        try:
            if trainer.inexact:
                self.folder.write_run_json({**read_json(self.folder.run_json), "exact": False})
            self.folder.write_json(self.folder.summary, summary.to_json())
        except StorageError as error:
            self._warn(error.message)
        return summary


def _learners(place: Place | None) -> Learners | None:
    return None if place is None or place.learners == 1 else Learners(place)


def _echo_seconds(place: Place | None, is_scheduled: bool) -> float:
    return ECHO_SECONDS if place is not None or is_scheduled else 0.0


def _announce(view: View, text: str | None) -> None:
    if text is not None:
        view.message(text)


def _restore(trainer: Trainer, checkpoint: Checkpoint) -> list[str]:
    """Let the trainer go on from `checkpoint`; return what could not be restored exactly, in words."""
    with refused_in_words(checkpoint.metadata):
        notes = trainer.set_state(migrated(checkpoint.state), checkpoint.segments)
    checkpoint.segments.clear()  # the algorithm has them now: a replay buffer is not kept twice
    return notes


def _training_rate(trainer: Trainer, rates: Rates) -> float:
    """Return this session's frames per second with evaluations and videos left out, as other libraries count it."""
    filming = 0.0 if trainer.filming is None else trainer.filming.seconds
    training = rates.wall_seconds - trainer.evaluation_seconds - filming
    return rates.mean * rates.wall_seconds / training if training > 0 else 0.0
