"""The house is as its rules have it, and the script that says so finds each way to break them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import structure

LAYERS = """
[tool.importlinter]
root_packages = ["shop", "goods"]

[[tool.importlinter.contracts]]
type = "layers"
layers = ["shop", "goods"]

[[tool.importlinter.contracts]]
type = "layers"
containers = ["shop"]
layers = ["door", "till | shelf"]
"""
FILES = {
    "shop/__init__.py": "",
    "shop/door.py": "from shop import till\nfrom shop.shelf import Shelf\n",
    "shop/till.py": "import goods.bread\n",
    "shop/shelf/__init__.py": "",
    "shop/shelf/board.py": "from goods.bread import Bread\n",
    "goods/__init__.py": "",
    "goods/bread.py": "def late():\n    import json\n",
    "tests/test_door.py": "from shop import door\n",
}


def told(root: Path, changed: dict[str, str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    (root / "pyproject.toml").write_text(LAYERS)
    for name, text in {**FILES, **changed}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return structure.main([str(root)]), capsys.readouterr().out


def test_this_repository_keeps_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    broken = structure.main([])
    assert not broken, capsys.readouterr().out


def test_rooms_and_arrows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = told(tmp_path, {}, capsys)
    assert status == 0
    assert "| shop/ | 2 | 3 | 0 | 0 |" in out
    assert "| shop/shelf/ | 1 | 1 | 0 | 0 |" in out
    assert "| **all** | 4 | 4 | 0 | 0 |" in out
    assert "| tests/ | 1 | 0 | 0 | 0 |" in out
    assert "Circles of rooms: 0. Circles of modules: 0." in out


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"goods/bread.py": "def late():\n    import shop.till\n"},
            "goods.bread imports shop.till, which stands above",
        ),
        ({"shop/till.py": "from shop.shelf import board\n"}, "shop.till imports shop.shelf.board, which stands above"),
        (
            {"goods/bread.py": "import goods.flour\n", "goods/flour.py": "from goods.bread import Bread\n"},
            "a circle of modules: goods.bread, goods.flour",
        ),
        (
            {
                "shop/bank/__init__.py": "",
                "shop/bank/card.py": "import shop.shelf.nail\n",
                "shop/shelf/nail.py": "",
                "shop/shelf/board.py": "import shop.bank.coin\n",
                "shop/bank/coin.py": "",
            },
            "a circle of rooms: shop.bank, shop.shelf",
        ),
        ({"goods/bread.py": "\n" * 301}, "goods/bread.py has more than 300 lines"),
        ({"docker/long.py": "\n" * 301}, "docker/long.py has more than 300 lines"),
        ({f"goods/crumb_{number}.py": "" for number in range(16)}, "goods/ has 17 modules"),
    ],
)
def test_what_breaks_a_rule_is_named(
    changed: dict[str, str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = told(tmp_path, changed, capsys)
    assert status == 1
    assert says in out


def test_a_circle_among_tests_is_one_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = {"tests/one.py": "import tests.two\n", "tests/two.py": "import tests.one\n"}
    assert "a circle of modules: tests.one, tests.two" in told(tmp_path, changed, capsys)[1]
