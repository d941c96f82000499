"""The golden fixture: missing files fail, differences show, updates are explicit."""

from pathlib import Path

import pytest

from roofwright.tools.pytest_plugin import difference, golden_path

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "roofwright.tools.pytest_plugin", "-p", "no:cacheprovider")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(test_it="def test_text(golden):\n    golden('one\\ntwo')\n")
    return pytester


def test_a_missing_golden_fails(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_text.txt is missing; run pytest --update-golden*"])


def test_update_writes_and_then_it_passes(project: pytest.Pytester) -> None:
    project.runpytest_subprocess(*PLUGIN, "--update-golden").assert_outcomes(passed=1)
    assert (project.path / "golden/test_it/test_text.txt").read_text() == "one\ntwo\n"
    project.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_a_difference_fails_with_a_diff(project: pytest.Pytester) -> None:
    project.runpytest_subprocess(*PLUGIN, "--update-golden")
    project.makepyfile(test_it="def test_text(golden):\n    golden('one\\nthree')\n")
    result = project.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-two", "+three"])


def test_update_in_ci_fails(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    project.runpytest_subprocess(*PLUGIN, "--update-golden").assert_outcomes(failed=1)
    assert not (project.path / "golden").exists()


def test_names_become_file_names() -> None:
    assert golden_path(Path("/t/test_a.py"), "test_b[zoo:x/y-tpuv2]") == Path(
        "/t/golden/test_a/test_b_zoo_x_y-tpuv2.txt"
    )


def test_long_differences_are_cut() -> None:
    text = difference("", "\n".join(map(str, range(500))), "x")
    assert len(text.splitlines()) == 61
    assert "more lines" in text
