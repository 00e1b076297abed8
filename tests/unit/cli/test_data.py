"""The data folder: one supervisor, secrets that last."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_cli.data import Data, data_of
from vedette_cli.terminal import plain


def test_a_folder_has_one_supervisor_at_a_time(tmp_path: Path) -> None:
    first = Data(tmp_path / "data").lock()
    with pytest.raises(click.ClickException, match="another vedette runs"):
        Data(tmp_path / "data").lock()
    os.close(first)
    os.close(Data(tmp_path / "data").lock())


def test_a_secret_stays_the_same_and_is_its_owners(tmp_path: Path) -> None:
    data = Data(tmp_path)
    made = data.secret("token")
    assert len(made) >= 32
    assert data.secret("token") == made
    assert data.secret("other") != made
    assert (data.run / "token").stat().st_mode & 0o077 == 0
    assert sorted(file.name for file in data.run.iterdir()) == ["other", "token"]


def test_all_who_ask_at_once_get_the_same_secret(tmp_path: Path) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(Data(tmp_path).secret("token"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8


def test_an_empty_secret_is_never_used(tmp_path: Path) -> None:
    data = Data(tmp_path)
    data.run.mkdir()
    (data.run / "token").touch()
    with pytest.raises(click.ClickException, match="is empty"):
        data.secret("token")


def test_a_folder_without_data_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="no data folder"):
        data_of(tmp_path, None)


@given(st.text(st.characters()))
def test_no_text_drives_a_terminal(text: str) -> None:
    shown = plain(text)
    assert len(shown) == len(text)
    assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in shown if one not in "\t\n")
    assert not set(shown) & set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    assert plain(shown) == shown
    shown.encode()


def test_ordinary_text_stays_as_it_is() -> None:
    text = "✗ Ünïcode — “quotes” 日本語 🙂\n\t<&>"
    assert plain(text) == text
