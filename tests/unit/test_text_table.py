"""Tables on a terminal: folded into its width, no word lost; whole lines where nobody looks."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from gen3dexport.cli import text_table
from gen3dexport.cli.text_table import folded, show_rows

ROWS = [
    ["program", "what, unit", "basis"],
    ["slat_decoder_mesh", "peak memory, MB", "A measured, B estimated"],
    ["flow", "latency, ms", "measured"],
]


def test_a_table_in_a_file_has_a_line_a_row() -> None:
    lines = folded(ROWS)
    assert [len(own) for own in lines] == [1, 1, 1]
    assert lines[2] == ["flow               latency, ms      measured"]


@pytest.mark.parametrize(("width", "cut"), [(80, False), (57, False), (45, False), (38, False), (30, True)])
def test_on_a_terminal_it_is_folded_between_words(width: int, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_table.sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(text_table.shutil, "get_terminal_size", lambda: os.terminal_size((width, 24)))
    lines = [line for own in folded(ROWS) for line in own]
    assert Counter("".join("".join(lines).split())) == Counter(
        "".join("".join(map("".join, ROWS)).split())
    )  # all is there
    assert ("slat_decoder_mesh" in "\n".join(lines)) is not cut
    if width >= 38:
        assert max(map(len, lines)) <= width


def test_marks_of_html_headings_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(("name", "#size, MB", "~basis"), [("flow", "2", "measured")])
    assert capsys.readouterr().out == "name  size, MB  basis\nflow  2         measured\n"
