"""The recipes for clusters as they are written: what they ask for fits together, and their commands work."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cluster_runs import RECIPES, write_spec
from fake_slurm import FakeSlurm

from rl2cli.spec import load_spec
from rl2cli.training.scale.ray_cluster import LEAST

SCRIPTS = ("slurm.sh", "slurm-ray.sh")
needs_bash = pytest.mark.skipif(sys.platform == "win32", reason="the recipes' commands are for a POSIX shell")


def read(name: str) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    return list(yaml.safe_load_all((RECIPES / name).read_text()))


@pytest.fixture
def task() -> dict[str, Any]:
    (found,) = read("skypilot.yaml")
    return found


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in read("kuberay.yaml")}


@needs_bash
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_bash_and_asks_slurm_for_what_a_requeue_needs(name: str) -> None:
    path = RECIPES / name
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", path.read_text(), re.MULTILINE))
    assert asked["requeue"] == ""
    assert asked["signal"] == "B:TERM@120"
    assert asked["open-mode"] == "append"
    if shutil.which("shellcheck"):
        checked = subprocess.run(
            ["shellcheck", "--severity=warning", path], capture_output=True, text=True, check=False
        )
        assert checked.stdout == ""


@needs_bash
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_without_a_spec_says_how_it_is_submitted(name: str) -> None:
    ended = subprocess.run([RECIPES / name], capture_output=True, text=True, check=False)
    assert (ended.returncode, f"sbatch {name} SPEC RUN" in ended.stderr) == (1, True)


def test_no_recipe_names_a_registry_or_a_home() -> None:
    for path in RECIPES.iterdir():
        text = path.read_text()
        assert not re.search(r"/home/|/root/|/work/|\w\.(io|com|org)/\w+[:@]", text), path
        for image in re.findall(r"image: (\S+)", text):
            assert "/" not in image


def test_skypilot_recovers_what_sigterm_stopped_and_keeps_the_run(task: dict[str, Any]) -> None:
    assert task["resources"]["use_spot"] is True
    recovery = task["resources"]["job_recovery"]
    assert recovery == {"max_restarts_on_errors": 0, "recover_on_exit_codes": [143]}
    ((mounted, bucket),) = task["file_mounts"].items()
    assert bucket["mode"] == "MOUNT_CACHED"
    assert f'--run-dir "{mounted}/$RUN" --resume' in task["run"]
    load_spec(task["envs"]["SPEC"])


def test_kuberay_has_a_token_a_disk_and_time_to_save(manifests: dict[str, dict[str, Any]]) -> None:
    job = manifests["RayJob"]["spec"]
    cluster = job["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split(".")[:2])) >= LEAST
    assert job["backoffLimit"] > 0
    pod = cluster["headGroupSpec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 120
    (head,) = pod["containers"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: volumes[each["name"]] for each in head["volumeMounts"]}
    assert mounts["/rl2-runs"]["persistentVolumeClaim"]["claimName"] == _name(manifests["PersistentVolumeClaim"])
    assert mounts["/rl2-spec"]["configMap"]["name"] == _name(manifests["ConfigMap"])
    words = job["entrypoint"].split()
    assert words[:2] == ["rl2", "train"]
    assert words[-1] == "--resume"
    assert words[words.index("--run-dir") + 1].startswith("/rl2-runs/")
    assert Path(words[2]).name in manifests["ConfigMap"]["data"]
    command = head["lifecycle"]["preStop"]["exec"]["command"]
    assert all(repr(word).replace("'", '"') in command[2] for word in (words[1], words[4], words[5]))


def test_kuberays_spec_asks_for_the_workers_there_are(manifests: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    cluster = manifests["RayJob"]["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    ((name, text),) = manifests["ConfigMap"]["data"].items()
    (tmp_path / name).write_text(text)
    scale = load_spec(tmp_path / name).spec.scale
    assert scale is not None
    assert (scale.engine, scale.address, scale.lag) == ("ray", "auto", 0)
    assert scale.workers == group["replicas"] * int(worker["resources"]["requests"]["cpu"])
    assert group["minReplicas"] == group["maxReplicas"] == group["replicas"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert worker["image"] == head["image"] == f"rl2-ray:{cluster['rayVersion']}"


LEARNER = """
import signal, sys, time
def stop(number, frame):
    time.sleep(0.3)
    open(sys.argv[-1], "w").write("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""


@needs_bash
def test_the_hook_before_a_pods_end_waits_until_the_learner_has_saved(
    manifests: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    job = manifests["RayJob"]["spec"]
    (head,) = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    _, *hook = head["lifecycle"]["preStop"]["exec"]["command"]
    run = str(tmp_path / "run")
    hook[-1] = hook[-1].replace("/rl2-runs/lander", run)  # a folder that no other process here names
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", LEARNER, *words, str(tmp_path / f"saved-{number}")], stdout=subprocess.PIPE
        )
        for number, words in enumerate((["train", "s", "--run-dir", run, "--resume"], ["train", "s", "--resume"]))
    ]
    try:
        for process in begun:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        subprocess.run([sys.executable, *hook], check=True, timeout=120)
        assert (tmp_path / "saved-0").read_text() == "saved"
        time.sleep(0.2)
        assert begun[1].poll() is None  # it is somebody else's
    finally:
        for process in begun:
            process.kill()
            process.communicate()
    assert begun[0].returncode == 143


@needs_bash
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recipe", ["skypilot.yaml", "kuberay.yaml"])
def test_the_command_of_a_manifest_trains_and_then_has_nothing_to_do(recipe: str, tmp_path: Path) -> None:
    commands = FakeSlurm(tmp_path).own / "bin"
    spec = write_spec(tmp_path)
    if recipe == "skypilot.yaml":
        (task,) = read(recipe)
        line = task["run"].replace("/rl2-runs", shlex.quote(str(tmp_path / "runs")))
    else:
        line = next(each for each in read(recipe) if each["kind"] == "RayJob")["spec"]["entrypoint"]
        line = line.replace("/rl2-runs", str(tmp_path / "runs")).replace("/rl2-spec/lander.toml", spec)
    paths = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "SPEC": spec, "RUN": "lander"}
    said = [
        subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert said[0].stdout == said[1].stdout == f"{tmp_path / 'runs' / 'lander'}\n"
    assert "has ended already" in said[1].stderr


def _name(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["name"])
