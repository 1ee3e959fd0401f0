"""Files and folders are whole or not there."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from editing.atomic_files import exclusive, publish_folder, scratch_folder, sweep, whole_file


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file"
    with whole_file(target) as part:
        part.write_text("first")
        assert not target.exists()
    assert target.read_text() == "first"

    def stopped() -> None:
        with whole_file(target) as part:
            part.write_text("seco")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_folder_is_published_by_one_rename_and_its_scratch_goes(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with scratch_folder(target) as scratch:
        (scratch / "filled").mkdir()
        (scratch / "filled" / "file").write_text("x")
        publish_folder(scratch / "filled", target)
    assert (target / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from editing.atomic_files import scratch_folder, whole_file\n"
        "target = Path(sys.argv[1])\n"
        "with scratch_folder(target) as folder, whole_file(target) as file:\n"
        "    (folder / 'half').write_text('x'); file.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    target = tmp_path / "model"
    killed = subprocess.run([sys.executable, "-c", code, str(target)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".other.x.part").write_text("of another target")
    sweep(target)
    assert [path.name for path in tmp_path.iterdir()] == [".other.x.part"]


def test_one_at_a_time_prepares_a_target(tmp_path: Path) -> None:
    inside, most = [0], [0]
    first_is_in, second_may_go = threading.Event(), threading.Event()

    def prepare() -> None:
        with exclusive(tmp_path / "model"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            first_is_in.set()
            second_may_go.wait(10)
            inside[0] -= 1

    threads = [threading.Thread(target=prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert first_is_in.wait(10)
    second_may_go.set()
    for thread in threads:
        thread.join()
    assert most == [1]
