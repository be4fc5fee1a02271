"""What the commands on outfits share: outputs refused before anything is computed, options read, faults told."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from jobs.cli import run
from jobs.errors import DataError, SettingsError
from jobs.train.shared import check_texts, faults, variants, whole_numbers, writable
from medal_model.backbones import BackboneError
from medal_model.checkpoints import CheckpointError
from medal_model.config import TrainConfig
from medal_model.export import TeacherError
from medal_model.image_source import ImageSourceError
from medal_model.outfits import OutfitsError
from medal_model.settings_file import ConfigError
from medal_model.text import EncoderError, TextError
from schemas.taxonomy import TaxonomyError

TRAIN = ["train", "--outfits", "o", "--images", "i", "--name", "n", "--out"]
EVALUATE = ["evaluate", "--teacher", "t", "--outfits", "o"]
STUDY = ["study", "--outfits", "o", "--out"]
HARVEST = ["harvest", "--photos", "p", "--out"]
TABLE = ["text-table", "--titles", "t.csv", "--out"]
BENCH = ["bench", "training", "--out"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with a file and a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([*TRAIN, "file"], "--out file: {here}/file is a file"),
        ([*TRAIN, "file/a/b"], "--out file/a/b: {here}/file is a file"),
        ([*TRAIN, "new", "--work", "file"], "--work file: {here}/file is a file"),
        ([*TRAIN, "new", "--cache", "file"], "--cache file: {here}/file is a file"),
        ([*EVALUATE, "--out", "file"], "--out file: {here}/file is a file"),
        ([*EVALUATE, "--figure", "folder"], "--figure folder: must end in .png or .jpg"),
        ([*EVALUATE, "--figure", "new.tif"], "--figure new.tif: must end in .png or .jpg"),
        ([*EVALUATE, "--figure", "file/a.png"], "--figure file/a.png: {here}/file is a file"),
        ([*EVALUATE, "--cache", "file"], "--cache file: {here}/file is a file"),
        ([*STUDY, "file"], "--out file: {here}/file is a file"),
        ([*STUDY, "new", "--cache", "file"], "--cache file: {here}/file is a file"),
        ([*HARVEST, "file"], "--out file: {here}/file is a file"),
        ([*HARVEST, "new", "--sheet", "new.pdf"], "--sheet new.pdf: must end in .png or .jpg"),
        ([*TABLE, "folder"], "--out folder: is a folder; name a file"),
        ([*TABLE, "file/t.safetensors"], "--out file/t.safetensors: {here}/file is a file"),
        ([*BENCH, "folder"], "--out folder: is a folder; name a file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_first(
    command: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of the inputs named exists: they have not been looked at."""
    assert run(command) == 2
    assert said.format(here=here) in capsys.readouterr().err.strip().splitlines()[-1]
    assert sorted(p.name for p in here.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("folder", "folder"), ("new/er", "folder"), ("file", "file"), ("new/f", "file"), ("new/f.PNG", "picture")],
)
def test_an_output_that_can_be_written_passes(path: str, kind: str, here: Path) -> None:
    writable("--out", Path(path), kind)  # type: ignore[arg-type]
    assert not (here / "new").exists()


@pytest.mark.parametrize("text", ["0,0", "-1", "1,-2", "", "1,", "one", "1.5"])
def test_seeds_are_whole_numbers_from_0_on_none_twice(
    text: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*STUDY, "new", f"--seeds={text}"]) == 2
    assert f"--seeds {text}: must be whole numbers from 0 on, none twice" in capsys.readouterr().err
    assert run([*STUDY, "new", f"--side-seeds={text}"]) == 2
    assert f"--side-seeds {text}: must be" in capsys.readouterr().err


def test_numbers_keep_their_order() -> None:
    assert whole_numbers("--seeds", "3, 0,12", "0") == (3, 0, 12)
    with pytest.raises(SettingsError, match="from 4 on"):
        whole_numbers("--sizes", "3,4", "4", least=4)


@pytest.mark.parametrize("text", ["my_split", "nondisjoint,", "nondisjoint,joint", "disjoint,disjoint", ""])
def test_an_unknown_variant_is_refused_with_those_there_are(
    text: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "o" / "my_split").mkdir(parents=True)
    for command in ([*STUDY, "new"], [*TRAIN, "new"]):
        assert run([*command, f"--split={text}"]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"--split {text}: must be" in line
        assert "nondisjoint" in line and " disjoint" in line


def test_variants_may_stand_apart() -> None:
    assert variants(" disjoint , nondisjoint") == ("disjoint", "nondisjoint")


def test_a_text_table_that_training_would_not_look_at_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "t.yaml").write_text("text_weight: 0\n")
    for command in ([*STUDY, "new"], [*TRAIN, "new"]):
        assert run([*command, "--config", "t.yaml", "--texts", "t.safetensors"]) == 2
        assert "--texts t.safetensors: text_weight is 0; set it or leave --texts out" in capsys.readouterr().err
    check_texts(None, TrainConfig(text_weight=0))
    check_texts(Path("t"), TrainConfig())
    with pytest.raises(ConfigError):
        check_texts(Path("t"), TrainConfig(text_weight=0))


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ConfigError, SettingsError),
        (BackboneError, SettingsError),
        (EncoderError, SettingsError),
        (FloatingPointError, SettingsError),
        (OutfitsError, DataError),
        (ImageSourceError, DataError),
        (TextError, DataError),
        (TeacherError, DataError),
        (CheckpointError, DataError),
        (TaxonomyError, DataError),
    ],
)
def test_a_fault_is_of_settings_or_of_data(error: type[Exception], raised: type[Exception]) -> None:
    with pytest.raises(raised, match=r"^what and where$"), faults():
        raise error("what and where")


def test_a_fault_of_a_path_names_it_and_any_other_stays_a_bug() -> None:
    with pytest.raises(SettingsError, match=r"^a/b: No space left on device; name another path$"), faults():
        raise OSError(errno.ENOSPC, "No space left on device", "a/b")
    with pytest.raises(OSError, match="connection"), faults():
        raise OSError("connection lost")
