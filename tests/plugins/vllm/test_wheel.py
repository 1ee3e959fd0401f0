"""The plugin is a distribution of its own, in which vLLM finds its entry point."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

from emmetd_vllm.plugin import register

ROOT = Path(__file__).parents[3]


def test_the_wheel_holds_the_package_and_names_what_vllm_calls(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    source = tmp_path / "source"
    # Not in place: setuptools leaves folders beside what it builds.
    subprocess.run(["cp", "-r", str(ROOT / "plugins" / "vllm"), str(source)], check=True)
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("emmetd_vllm-*.whl")
    with zipfile.ZipFile(wheel) as zipped:
        names = zipped.namelist()
        (points,) = (zipped.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
        (metadata,) = (zipped.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert "emmetd_vllm/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"emmetd_vllm"}
    assert [line for line in metadata.splitlines() if line.startswith("Requires-Dist")] == [
        "Requires-Dist: emmetd-client"
    ]
    found = configparser.ConfigParser()
    found.read_string(points)
    assert found.sections() == ["vllm.general_plugins"]
    ((name, value),) = found["vllm.general_plugins"].items()
    assert (name, value) == ("emmetd", f"{register.__module__}:{register.__name__}")
