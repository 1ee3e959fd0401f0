"""Which engines may be deployed to, and where files for them lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from configuration.deployment_settings import origin_of
from configuration.settings import Settings
from service.deployments.files import engines_folder


def test_targets_are_compared_by_scheme_host_and_port(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, deployment_targets="http://Engine/, https://10.0.0.5:8443 ,http://[::1]:8000")
    assert settings.allowed_targets == {"http://engine:80", "https://10.0.0.5:8443", "http://[::1]:8000"}
    assert origin_of("https://Engine") == "https://engine:443"
    assert Settings(data=tmp_path).allowed_targets == frozenset()


@pytest.mark.parametrize(
    "target",
    ["engine:8000", "vllm+http://engine:8000", "http://engine:8000/v1", "http://u:p@engine", "http://", "ftp://e"],
)
def test_what_is_no_origin_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(ValueError, match="is not an engine's address"):
        Settings(data=tmp_path, deployment_targets=f"http://good:1,{target}")


def test_the_folder_is_in_the_data_unless_it_is_named(tmp_path: Path) -> None:
    assert engines_folder(Settings(data=tmp_path)) == tmp_path / "deployments"
    assert engines_folder(Settings(data=tmp_path, deployment_folder="/mnt/engines")) == Path("/mnt/engines")
