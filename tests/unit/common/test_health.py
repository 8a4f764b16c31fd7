from __future__ import annotations

import pytest

from mailement_common.health import Check, CheckResult, Health


async def _ok() -> CheckResult:
    return CheckResult(ok=True)


async def _not_ok() -> CheckResult:
    return CheckResult(ok=False, detail="not connected")


async def _broken() -> CheckResult:
    raise ConnectionRefusedError("to postgresql://ada:geheim@db/letters")


async def test_all_that_is_required_makes_ready() -> None:
    health = Health(checks={"database": Check(run=_ok), "broker": Check(run=_not_ok, required=False)})

    assert await health.readiness() == (
        True,
        {
            "database": {"ok": True, "required": True},
            "broker": {"ok": False, "required": False, "detail": "not connected"},
            "draining": False,
        },
    )


@pytest.mark.parametrize("check", [_not_ok, _broken])
async def test_one_that_is_required_and_fails_makes_not_ready(check: object) -> None:
    health = Health(checks={"database": Check(run=check), "schema": Check(run=_ok)})  # type: ignore[arg-type]

    ready, report = await health.readiness()

    assert not ready
    assert "geheim" not in str(report)


async def test_a_service_that_drains_is_not_ready() -> None:
    health = Health(checks={"database": Check(run=_ok)}, draining=True)

    ready, report = await health.readiness()

    assert (ready, report["draining"]) == (False, True)


async def test_before_anything_is_started_nothing_is_ready() -> None:
    assert not (await Health().readiness())[0]
