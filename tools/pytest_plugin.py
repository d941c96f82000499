"""Golden-graph tests: the fixture `golden` compares text with a file of the repository.

Opt in with `pytest_plugins = ["roofwright.tools.pytest_plugin"]` in the top conftest, or with pytest's option `-p`.
A test writes `golden(canonical_text(model))`; its file is `golden/<module>/<test>.txt` beside the test. A missing file
fails; `pytest --update-golden` writes it, and still fails where the environment says that it is CI.
"""

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

_DIFF_LINES = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`."""
    parser.getgroup("golden").addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing with them"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that compares a text with this test's golden file, and fails with a diff."""
    path = golden_path(Path(str(request.path)), request.node.name)
    update = bool(request.config.getoption("--update-golden"))

    def compare(text: str) -> None:
        text = text if text.endswith("\n") else text + "\n"
        if update:
            _update(path, text)
        elif not path.exists():
            pytest.fail(f"{path.name} is missing; run pytest --update-golden and review what it writes", pytrace=False)
        elif (expected := path.read_text(encoding="utf-8")) != text:
            pytest.fail(difference(expected, text, path.name), pytrace=False)

    return compare


def golden_path(test_file: Path, test_name: str) -> Path:
    """Where the golden file of a test lies; characters that file systems dislike become underscores.

    Tests in a folder that is itself called `golden` have their files right beside them.
    """
    home = test_file.parent if test_file.parent.name == "golden" else test_file.parent / "golden"
    return home / test_file.stem / (re.sub(r"[^\w.=-]+", "_", test_name).strip("_") + ".txt")


def difference(expected: str, found: str, name: str) -> str:
    """A unified diff, cut where it gets longer than anybody reads."""
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), f"{name} (golden)", "now", lineterm="")
    shown = list(lines)
    rest = len(shown) - _DIFF_LINES
    return "\n".join(shown[:_DIFF_LINES] + ([f"... {rest} more lines"] if rest > 0 else []))


def _update(path: Path, text: str) -> None:
    if os.environ.get("CI"):
        pytest.fail("--update-golden in CI: golden files are reviewed before they are committed", pytrace=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
