"""`make gpu` without a GPU: its parts run, fail, hang and are left out as it says, and the rest goes on."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import checkout, gpu, training_step

ROOT = Path(__file__).parents[2]


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


NOTE = "import os, pathlib; pathlib.Path(os.environ['PART_FINDINGS']).write_text('{\"found\": 1}')"


def test_parts_are_isolated_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written: list[dict] = []
    result = {"parts": {}}
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    parts = [
        gpu.Part("fails", python("print('the cause'); raise SystemExit(3)"), 20),
        gpu.Part("hangs", python(f"{NOTE}; {child}"), 3),
        gpu.Part("crashes", python("import os; os.abort()"), 20),
        gpu.Part("is not there", ("/no/such/program",), 20),
        gpu.Part("says nonsense", python(NOTE.replace("{", "<")), 20),
        gpu.Part("cannot", python("raise SystemExit(1)"), 20, skip="it is not installed"),
        gpu.Part("works", python(NOTE), 20, environment=(("ONE", "1"),)),
        gpu.Part("finds", python(NOTE), 20, at_top=True),
    ]
    start = time.monotonic()
    gpu.conduct(
        [(part,) for part in parts],
        result,
        lambda now: written.append(json.loads(json.dumps(now))),
        start + 100,
        tmp_path,
    )
    assert time.monotonic() - start < 40
    records = result["parts"]
    assert [records[part.name]["state"] for part in parts] == [
        "failed",
        "stopped",
        "failed",
        "failed",
        "done",
        "skipped",
        "done",
        "done",
    ]
    assert records["fails"]["reason"] == "ended with code 3"
    assert records["fails"]["output"] == ["the cause"]
    assert records["hangs"]["reason"] == "it took more than 3 s"
    assert records["hangs"]["found"] == 1, "what a part found before it was stopped is kept"
    assert records["crashes"]["reason"] == "ended by signal 6"
    assert "No such file" in records["is not there"]["reason"]
    assert "could not be read" in records["says nonsense"]["findings"]
    assert records["cannot"] == {"state": "skipped", "reason": "it is not installed"}
    assert records["works"]["found"] == result["found"] == 1
    assert [len(now["parts"]) for now in written] == [*range(1, 9)], "written after every part"
    assert "  | the cause" in capsys.readouterr().out


def test_parts_of_a_group_run_side_by_side(tmp_path: Path) -> None:
    result = {"parts": {}}
    met = "import pathlib, time; mine, other = map(pathlib.Path, {}); mine.touch()"
    met += "\nwhile not other.exists(): time.sleep(0.01)"
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    group = tuple(
        gpu.Part(name, python(met.format(pair)), 60) for name, pair in (("a", [one, two]), ("b", [two, one]))
    )
    gpu.conduct([group], result, lambda _: None, time.monotonic() + 100, tmp_path)
    assert [record["state"] for record in result["parts"].values()] == ["done", "done"]


def test_no_part_begins_after_the_deadline(tmp_path: Path) -> None:
    result = {"parts": {}}
    gpu.conduct([(gpu.Part("late", python(""), 9),)], result, lambda _: None, time.monotonic() + 1, tmp_path)
    assert result["parts"]["late"] == {"state": "skipped", "reason": "no time was left"}


def test_a_hanging_part_is_stopped_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_LEAST_S", 0.1)
    result = {"parts": {}}
    late = gpu.Part("late", python("import time; time.sleep(60)"), 50)
    start = time.monotonic()
    gpu.conduct([(late,)], result, lambda _: None, start + 0.5, tmp_path)
    assert result["parts"]["late"]["state"] == "stopped"
    assert time.monotonic() - start < 10


def test_outcomes_of_tests_are_read(tmp_path: Path) -> None:
    events = [
        {"test": "a", "outcome": "started", "reason": ""},
        {"test": "a", "outcome": "passed", "reason": ""},
        {"test": "b", "outcome": "skipped", "reason": "one GPU"},
        {"test": "c", "outcome": "passed", "reason": ""},
        {"test": "c", "outcome": "failed", "reason": "at its end"},
        {"test": "d", "outcome": "started", "reason": ""},
    ]
    (tmp_path / "record").write_text("\n".join(map(json.dumps, events)))
    assert gpu.read_tests(tmp_path / "record") == {
        "passed": 1,
        "skipped": {"one GPU": 1},
        "failed": {"c": "at its end"},
        "unfinished": ["d"],
    }


def test_a_backend_that_brings_its_tests_down_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda name, path=None: f"/bin/{name}")
    backends = {"good": None, "crashing": None, "slow": None, "wrong": None, "gone": "not built"}
    records = {
        "crashing": {"state": "failed", "unfinished": ["x"]},
        "slow": {"state": "stopped", "unfinished": ["x"]},
        "wrong": {"state": "failed", "unfinished": []},
    }
    result = {"parts": {}, "gpu_backends": backends}
    names = []
    for group in gpu.plan(result, "cuda", False, lambda: Path("out.json")):
        for part in group:
            names.append(part.name)
            result["parts"][part.name] = records.get(part.name.split()[-1], {"state": "done"})
            if part.name == "compare":
                assert part.command[-2:] == ("--backends", "good,slow,wrong")
            assert len(group) == 1 or part.name.split()[0] in ("tests", "compute-sanitizer"), "timed alone"
    assert {f"tests {stem} {b}" for stem in ("exact", "hausdorff", "torch") for b in ("good", "slow")} <= {
        *names
    }
    assert "compute-sanitizer memcheck short good" in names
    assert "training step" in names


@pytest.mark.parametrize(
    ("record", "sound"),
    [
        ({"state": "done"}, True),
        ({"state": "failed", "failed": {"test": "AssertionError: 3 voxels beyond 2"}}, True),
        ({"state": "failed", "unfinished": ["test"]}, False),
        ({"state": "failed", "failed": {"test": "CUDA error: an illegal memory access was met"}}, False),
        ({"state": "failed", "failed": {"test": "worker 'gw0' crashed while running 'test'"}}, False),
    ],
)
def test_a_backend_that_faults_would_spoil_the_others(record: dict, sound: bool) -> None:
    assert gpu._is_sound(record) == sound


def test_without_a_gpu_nothing_runs_and_nothing_is_written(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    results = {path.name for path in (ROOT / "benchmarks" / "results").iterdir()}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "compare: skipped (PyTorch " in done.stdout
    assert "sees no GPU" in done.stdout
    assert {path.name for path in (ROOT / "benchmarks" / "results").iterdir()} == results


def test_a_trial_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu.py"),
        "--device",
        "cpu",
        "--tiny",
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [*command, "--only", "compare", "tests errors"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert {name: part["state"] for name, part in result["parts"].items()} == {
        "machine": "done",
        "compare": "done",
        "tests errors": "done",
    }
    assert result["parts"]["tests errors"]["passed"] == 1
    assert {cell["task"] for cell in result["cells"]} == {"edt", "loss", "contour"}
    for cell in result["cells"]:
        assert cell["results"][result["baseline"]]["difference"] <= 1e-4
    assert result["absent"] == {} or set(result["absent"]) <= {"cupyx", "cucim", "monai"}
    assert result["machine"]["gpu"]["copy_bytes_per_s"] > 0


def test_the_plain_network_is_nnu_nets() -> None:
    pytest.importorskip("dynamic_network_architectures")
    with torch.device("meta"):
        plain, real = training_step.PlainUNet(), training_step.network()
        assert not isinstance(real, training_step.PlainUNet)
        shapes = [sorted(tuple(p.shape) for p in model.parameters()) for model in (plain, real)]
        assert shapes[0] == shapes[1]
        image = torch.zeros(1, 1, *training_step.PATCH)
        logits = [[tuple(x.shape) for x in model(image)] for model in (plain, real)]
    assert logits[0] == logits[1]


def test_the_network_is_what_nnu_net_plans() -> None:
    topology = pytest.importorskip("nnunetv2.experiment_planning.experiment_planners.network_topology")
    _, strides, kernels, _, _ = topology.get_pool_and_conv_props(
        (5, 0.42, 0.42), training_step.PATCH, 4, 999_999
    )
    assert strides == training_step.STRIDES
    assert kernels == training_step.KERNELS


def test_a_training_step_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures.architectures.unet", None)
    result = training_step.measure("cpu", 0.01, tiny=True)
    assert result["network"] == "plain PyTorch"
    assert list(result["steps"]) == ["dice_ce", "dice_ce + hausdorff", "dice_ce + contour"]
    assert result["steps"]["dice_ce"]["ratio"] == 1


def test_the_commit_of_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commit = checkout.commit()
    assert commit is None or len(commit.rstrip("+")) == 40
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout.commit() is None
