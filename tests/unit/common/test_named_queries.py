from __future__ import annotations

from pathlib import Path

import pytest

from mailement_common.db.sql import NamedQueries, queries_beside

TWO = """-- What this file is about.

-- name: first
-- Take one.
SELECT 1;

-- name: second_2
-- Take two, with a comment inside.
SELECT
    -- here
    2;
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.sql"
    path.write_text(TWO)
    return path


def test_queries_are_found_by_their_names_without_the_semicolon(file: Path) -> None:
    queries = NamedQueries(file)

    assert list(queries) == ["first", "second_2"]
    assert len(queries) == 2
    assert queries["first"] == "-- Take one.\nSELECT 1"
    assert queries["second_2"].endswith("2")


def test_a_name_that_is_not_there_is_told_with_the_file(file: Path) -> None:
    with pytest.raises(LookupError, match=r"some\.sql has no query called third"):
        NamedQueries(file)["third"]


def test_queries_stand_beside_the_module(file: Path) -> None:
    assert "first" in queries_beside(str(file.with_suffix(".py")))


def test_a_name_that_is_there_twice_is_refused(file: Path) -> None:
    file.write_text(TWO + "\n-- name: first\nSELECT 3;\n")

    with pytest.raises(ValueError, match="first"):
        NamedQueries(file)
