"""What the README shows runs as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_of_python_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f"filled-{i}.mp4" for i in range(4)),
        "filled.png",
    }


def test_links_and_pictures_exist() -> None:
    root = Path(__file__).parents[1]
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (root / link).is_file(), link
