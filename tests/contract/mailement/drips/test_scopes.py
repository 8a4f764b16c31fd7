"""Keys that only read stand in web pages; what writes takes one with a scope."""

from __future__ import annotations

import pytest

from tests.contract.mailement.drips.series import DRIPS, Drips

_WRITING = [
    (method, path) for path, methods in DRIPS.methods.items() for method in methods if method != "GET"
]


@pytest.mark.parametrize(("method", "path"), _WRITING)
async def test_a_key_of_no_scope_only_reads(drips: Drips, method: str, path: str) -> None:
    await drips.furnish()
    before = await drips.brand.pool.fetch("SELECT d.* FROM drips AS d"), await drips.brand.events()
    answer = await drips.call(
        method, path.replace("{id}", "1"), DRIPS.bodies.get((method, path)), key=drips.brand.key
    )
    assert answer.error == (403, "insufficient_scope")
    assert "drips:write" in answer.body["reason"]
    assert (await drips.brand.pool.fetch("SELECT d.* FROM drips AS d"), await drips.brand.events()) == before
