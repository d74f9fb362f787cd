"""`thinwire report`: a page that is whole, needs nothing else, and says what the files say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thinwire.cli import app
from thinwire.pages.read import names, read
from thinwire.report.document import page
from thinwire.report.html import bytes_text

from . import files
from .reader import Page

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def made(*paths: Path) -> tuple[Page, str]:
    sections, _ = read(paths)
    html = page("A <title>", "and more", sections)
    return Page(html), html


def checked(found: Page, html: str) -> None:
    """What holds of every page."""
    assert len(set(found.ids)) == len(found.ids)
    assert all(link.startswith("#") for link in found.links), "nothing is fetched from anywhere"
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert set(re.findall(r"url\(#([^)\"]+)\)", html)) <= set(found.ids)
    assert not re.search(r"@import|url\((?!#)|<script", html)
    assert 'name="viewport"' in html
    assert "@media print" in html
    assert "prefers-color-scheme: dark" in html
    for figure in found.figures:
        assert figure.caption
        assert len(figure.words) > len("in words")
        assert figure.drawings == 1
    for table in found.tables:
        assert len({len(row) for row in table.rows}) == 1, table.caption
        assert all(cell.strip() for row in table.rows[1:] for cell in row[1:]), table.caption
    assert "nan" not in "".join(found.words).lower().split()


def test_training_logs_side_by_side(tmp_path: Path) -> None:
    dense = files.log(tmp_path / "dense.jsonl", plain=True, seconds=0.5, up=10_000)
    thin = files.log(tmp_path / "thin <1>.jsonl")
    found, html = made(dense, thin)
    checked(found, html)
    captions = [figure.caption for figure in found.figures]
    assert captions == [
        *("loss against seconds", "loss against bytes sent", "Where a step's time went"),
        *("Compression error by layer", "Compression error as training goes on", "lr"),
    ]
    assert "thin <1>: 10.0 times fewer bytes than dense, a step 5.0 times faster (100 against 500 ms)" in " ".join(
        found.words
    )
    assert html.count('class="legend"') == 1
    assert {"dense", "thin <1>"} <= set(found.words)


def test_the_numbers_of_the_tables_are_those_of_the_log(tmp_path: Path) -> None:
    file = files.log(tmp_path / "run.jsonl", steps=40)
    lines = [json.loads(text) for text in file.read_text().splitlines()][1:]
    found, _ = made(file)
    runs, times, errors = (
        found.table("The runs"),
        found.table("Where a step's time went"),
        next(table for table in found.tables if table.heads == ["relative error", "run"]),
    )
    sent = sum(told["bytes_up"] + told["bytes_down"] for told in lines)
    assert runs.cell("run", "steps") == str(len(lines))
    assert runs.cell("run", "sent") == bytes_text(sent)
    assert runs.cell("run", "sent a step") == bytes_text(1500)
    assert runs.cell("run", "fewer bytes") == f"{sum(told['dense_bytes'] for told in lines) / sent:.1f}×"
    assert runs.cell("run", "seconds") == "4"
    assert runs.cell("run", "loss") == f"{sum(5 / k for k in range(37, 41)) / 4:.4g}", "the last tenth"
    assert [times.cell("run", head) for head in times.heads[1:]] == ["100", "50", "10", "4", "6"]
    assert errors.cell("0.weight", "run") == "1.7", "the median of steps 1, 17 and 33"
    assert errors.cell("2.weight", "run") == "0.3"
    assert [row[0] for row in errors.rows[1:]] == ["0.weight", "2.weight"], "in the model's order"


def test_what_was_expected_stands_beside_what_was_measured(tmp_path: Path) -> None:
    lines = [files.line(step) for step in range(1, 21)]
    foretold = files.write(tmp_path / "foretold.jsonl", files.header(expected=0.08), *lines)
    found, _ = made(foretold)
    assert found.table("The runs").cell("foretold", "expected") == "80"
    assert "; a step takes 100 ms, and 80 ms were expected." in " ".join(found.words)
    both, _ = made(foretold, files.log(tmp_path / "other.jsonl"))
    runs = both.table("The runs")
    assert [runs.cell(name, "expected") for name in ("foretold", "other")] == ["80", "–"]
    assert "expected" not in made(tmp_path / "other.jsonl")[0].table("The runs").heads


def test_what_is_kept_in_the_repository_has_its_page() -> None:
    found, html = made(*files.KEPT)
    checked(found, html)
    told = json.loads((files.ROOT / "benchmarks/results/step-100mbit.json").read_text())["runs"][0]
    sent = bytes_text(next(made["sent"] for made in told["contenders"] if made["name"] == "ddp"))
    table = next(t for t in found.tables if t.heads[:2] == ["", "step, ms"] and t.cell("ddp", "sent") == sent)
    for contender in told["contenders"]:
        assert table.cell(contender["name"], "step, ms") == _ms(contender["seconds"]["median"])
    assert "Failed: rank 1 of 4 ended with code -6" in found.words, "failures are kept"


def test_solving(tmp_path: Path) -> None:
    file = tmp_path / "solve.json"
    arguments = ["solve", "--workers", "3", "--compare", "dcgd(identity); dcgd(ternary)", "--max-rounds", "400"]
    CliRunner().invoke(app, [*arguments, "--tol", "1e-2", "--json", str(file)], env=WIDE)
    found, html = made(file)
    checked(found, html)
    for method in json.loads(file.read_text())["methods"]:
        row = found.table("Methods")
        assert row.cell(method["method"], "rounds") == f"{method['rounds']:,}"
        assert row.cell(method["method"], "up, a worker") == bytes_text(method["bytes_up"])
        assert row.cell(method["method"], "gap") == f"{method['accuracy']:.1e}"
    assert "Rounds, predicted and measured" in [figure.caption for figure in found.figures]


def test_the_demo_and_the_frontier(tmp_path: Path) -> None:
    found, html = made(files.demo(tmp_path / "demo.json"), files.frontier(tmp_path / "frontier.jsonl"))
    checked(found, html)
    demo = found.tables[0]
    assert [row[0] for row in demo.rows[1:]] == ["PyTorch DDP", "thinwire <3 bits>"], "in the order of the plan"
    assert demo.cell("thinwire <3 bits>", "Fewer bytes") == "10.0×"
    frontier = found.table("cnn, 4 workers")
    assert frontier.cell("dense", "loss") == "0.5000 ± 0.1414", "at 0.2, which was best on the first seed"
    assert frontier.cell("dense", "learning rate") == "0.2"
    assert frontier.cell("1-bit", "fewer bytes") == "30.00×"
    assert any("diverged at some learning rates: dense" in text for text in found.words)


def test_predictions() -> None:
    found, html = made(*files.PREDICTIONS)
    checked(found, html)
    scale, predicted = (json.loads(file.read_text()) for file in files.PREDICTIONS)
    captions = {figure.caption: figure.words for figure in found.figures}
    assert list(captions) == ["Speed-up", "Efficiency", "A step's time", "Training steps, predicted and measured"]
    last = max(scale["points"], key=lambda point: point["workers"])
    assert f"{1e3 * last['seconds']:,.3g} ms with {last['workers']:,}" in captions["A step's time"]
    assert f"beyond {scale['validated_workers']} workers extrapolated" in " ".join(found.words)
    step = predicted["steps"][-1]
    assert f"{1e3 * step['measured']:.0f} ms measured" in captions["Training steps, predicted and measured"]
    told = [grid for kind in (scale, predicted) for grid in kind["grids"]]
    assert [table.rows[1:] for table in found.tables] == [grid["rows"] for grid in told]
    assert html.count('<td class="words">') == len(predicted["steps"]), "names, which wrap; numbers do not"


def test_a_probe_and_its_advice(tmp_path: Path) -> None:
    probe, advice = tmp_path / "probe.json", tmp_path / "advice.json"
    probe.write_text(json.dumps(files.PROBE.as_dict()), encoding="utf-8")
    choices = ("--choice", "fp16", "--choice", "dcgd(rotated(3))")
    result = CliRunner().invoke(app, ["advise", str(probe), *choices, "--json", str(advice)])
    assert result.exit_code == 0, result.output
    found, html = made(probe, advice)
    checked(found, html)
    captions = [figure.caption for figure in found.figures]
    assert captions == ["Collectives", "What links do to these gradients", "A step"]
    assert any("0.weight" in table.rows[0] for table in found.tables)
    said = " ".join(found.words)
    assert "a note <of> doubt" in said
    assert "diana(rotated(bits=1)), momentum 0.9: 0.5" in found.figures[1].words
    for sentence in json.loads(advice.read_text(encoding="utf-8"))["said"]:
        assert sentence in said


def test_the_advice_for_a_convex_problem(tmp_path: Path) -> None:
    file = tmp_path / "advice.json"
    grid = {"title": "20 workers", "heads": ["", "rounds"], "rows": [["locodl", "92"]], "ours": [], "notes": []}
    words = ["locodl is expected to need 92 rounds.", "Its rounds: tried."]
    told = {"kind": "advice-convex", "command": "thinwire advise", "provenance": {}, "grids": [grid], "words": words}
    file.write_text(json.dumps(told), encoding="utf-8")
    found, html = made(file)
    checked(found, html)
    assert [table.caption for table in found.tables] == ["20 workers"]
    assert all(sentence in " ".join(found.words) for sentence in words)


def test_a_page_is_the_same_each_time(tmp_path: Path) -> None:
    file = files.log(tmp_path / "run.jsonl")
    assert made(file)[1] == made(file)[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not JSON at all", "it is of no known kind"),
        ("[1, 2]", "it is of no known kind"),
        ('{"some": "thing"}', "there are files of wire.log, benchmarks/frontier.py, thinwire bench --json"),
        ('{"benchmark": "codec"}', "looks like the JSON of bench, but is not whole"),
        (None, "the file cannot be read: No such file"),
        (b"\xff\xfe\x00", "it is of no known kind"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str | bytes | None, said: str) -> None:
    file = tmp_path / "odd.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = CliRunner().invoke(app, ["report", str(file), "-o", str(tmp_path / "out.html")], env=WIDE)
    assert done.exit_code == 2
    text = " ".join(done.output.split())
    assert "odd.json" in text
    assert said in text


def test_the_command_writes_a_page_and_says_what_it_read(tmp_path: Path) -> None:
    runs = [files.log(tmp_path / "a.jsonl"), files.demo(tmp_path / "b.json")]
    out = tmp_path / "deep" / "page.html"
    done = CliRunner().invoke(app, ["report", *map(str, runs), "-o", str(out), "--title", "Mine"], env=WIDE)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "a.jsonl: training log" in text
    assert "b.json: demo" in text
    found = Page(out.read_text())
    assert "Mine" in found.words
    assert "2 files: a.jsonl, b.json" in found.words
    assert CliRunner().invoke(app, ["report"], env=WIDE).exit_code == 2


def test_files_of_one_name_are_told_apart() -> None:
    assert names([Path("/x/a/run.jsonl"), Path("/x/b/run.jsonl")]) == ["a/run", "b/run"]
    assert names([Path("one.json"), Path("two.json")]) == ["one", "two"]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"
