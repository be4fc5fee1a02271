"""`medal train` under torchrun: one teacher, equal weights everywhere, one line where something fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jobs.cli import run
from jobs.errors import SettingsError
from jobs.settings import read_launch

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = {
    "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
}  # fmt: skip


def torchrun(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Two processes on the CPU."""
    path = os.pathsep.join(str(p) for p in (ROOT, ROOT / "tests", ROOT / "tests" / "unit"))
    env = {k: v for k, v in os.environ.items() if k not in TORCHRUN}
    env |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *args]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=250)


def training(sample: Path, out: Path, settings: str) -> list[str]:
    """Arguments of `medal train` with a file of settings beside `out`."""
    config = out.with_suffix(".yaml")
    config.write_text(settings)
    where = ["--outfits", str(sample / "outfits"), "--images", str(sample / "images"), "--out", str(out)]
    folders = ["--cache", str(out.parent / "cache"), "--work", str(out.parent / "work" / out.name)]
    return ["train", *where, *folders, "--name", "tiny", "--config", str(config)]


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Our own lines about what went wrong."""
    return [line for line in result.stderr.splitlines() if line.startswith("medal:")]


def test_two_processes_train_the_whole_network_and_the_first_alone_writes(sample: Path, tmp_path: Path) -> None:
    args = training(sample, tmp_path / "out", "preset: tiny_test\nepochs: 2\nepoch_steps: 3\n")
    result = torchrun("-m", "jobs", *args, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f"written to {tmp_path / 'out'}") == 1
    assert result.stderr.count("epoch   1  loss") == 1
    assert {"model.safetensors", "config.json", "metrics.json"} <= {p.name for p in (tmp_path / "out").iterdir()}
    (folder,) = (tmp_path / "work" / "out").iterdir()
    assert len((folder / "log.jsonl").read_text().splitlines()) == 2
    resumed = torchrun("-m", "jobs", *args, cwd=tmp_path)  # both find the run's end, and neither trains again
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch   1  loss" not in resumed.stderr
    assert [p.name for p in (tmp_path / "work" / "out").iterdir()] == [folder.name]


def test_two_processes_export_the_teacher_that_one_does(sample: Path, tmp_path: Path) -> None:
    # Heads on cached features draw nothing by process but dropout: halves of a batch add up to the whole one.
    settings = "preset: tiny_test\nfrozen: true\nssl_weight: 0.0\ndrop: 0.0\nepochs: 2\nbatch_size: 64\n"
    assert run(training(sample, tmp_path / "one", settings)) == 0
    result = torchrun("-m", "jobs", *training(sample, tmp_path / "two", settings), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=2e-4), name


KEEP = """
import sys
import torch
from jobs.train.processes import taking_part
from test_model_training import tiny, whole

with taking_part() as processes:
    processes.join("cpu")
    trainer = whole(tiny(epochs=2))
    trainer.run()
    state = {"student": trainer.student.state_dict(), "teacher": trainer.teacher.state_dict()}
    torch.save(state, f"rank{processes.launch.rank}.pt")
assert not torch.distributed.is_initialized()
"""


def test_both_processes_hold_equal_weights_and_statistics(tmp_path: Path) -> None:
    (tmp_path / "keep.py").write_text(KEEP)
    result = torchrun(str(tmp_path / "keep.py"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / f"rank{n}.pt", weights_only=True) for n in (0, 1))
    for model in ("student", "teacher"):
        assert any("running_mean" in name for name in first[model])
        for name, value in first[model].items():
            assert torch.equal(value, second[model][name]), (model, name)


def test_a_fault_that_all_meet_is_said_once(sample: Path, tmp_path: Path) -> None:
    result = torchrun("-m", "jobs", *training(sample, tmp_path / "out", "lerning_rate: 1\n"), cwd=tmp_path)
    assert result.returncode != 0
    (line,) = said(result)
    assert "unknown key lerning_rate" in line
    assert not (tmp_path / "out").exists()


FAIL = """
import sys
from jobs import cli
from jobs.errors import DataError
from jobs.train import processes
import torch, typer

def register(app):
    @app.command()
    def fail():
        with processes.taking_part() as all_:
            all_.join("cpu")
            if all_.launch.rank == 1:
                raise DataError("x.csv: row 3: broken; mend it")
            torch.distributed.barrier()

app = typer.Typer()
app.callback()(lambda: None)
register(app)
cli.build_app = lambda: app
cli.main(["fail"])
"""


def test_a_fault_of_one_ends_all_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "fail.py").write_text(FAIL)
    result = torchrun(str(tmp_path / "fail.py"), cwd=tmp_path)
    assert result.returncode != 0
    assert said(result) == ["medal: data: x.csv: row 3: broken; mend it"]
    assert "medal: bug" not in result.stderr


def test_the_place_of_a_process_is_read_as_torchrun_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert read_launch() is None
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    launch = read_launch()
    assert launch is not None
    assert (launch.rank, launch.local_rank, launch.world_size) == (1, 1, 2)
    assert (launch.master_addr, launch.master_port, launch.agent_store) == ("127.0.0.1", 29500, True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", "first", "RANK: "),
        ("RANK", "2", "RANK=2 is not below WORLD_SIZE=2"),
        ("WORLD_SIZE", "0", "WORLD_SIZE: "),
        ("MASTER_PORT", "0", "MASTER_PORT: "),
        ("MASTER_ADDR", None, "MASTER_ADDR: "),
        ("LOCAL_RANK", None, "LOCAL_RANK: "),
    ],
)
def test_a_place_that_cannot_be_names_its_variable(
    name: str, value: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, held in {**TORCHRUN, name: value}.items():
        if held is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, held)
    with pytest.raises(SettingsError) as e:
        read_launch()
    assert message in str(e.value)
