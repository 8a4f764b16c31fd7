"""The verification code in docs/webhooks.md works, in each language that this machine has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
_BODY = '{"event":"subscriber.confirmed","brand_slug":"nowness"}'
_GENUINE = "sha256=e2c8874ec25b72e8d3b05241fb8fb446324e957071878c6f16a0e10922b2d16a"
_FORGED = "sha256=" + "0" * 64


def _example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def _needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not on this machine")


def test_python() -> None:
    names: dict[str, object] = {}
    exec(_example("python"), names)
    is_genuine = names["is_genuine"]

    assert callable(is_genuine)
    assert is_genuine(_SECRET, _BODY.encode(), _GENUINE)
    assert not is_genuine(_SECRET, _BODY.encode(), _FORGED)


@_needs("node")
def test_node() -> None:
    calls = ", ".join(
        f"isGenuine({_SECRET!r}, {_BODY!r}, {signature!r})" for signature in (_GENUINE, _FORGED)
    )

    ran = subprocess.run(
        ["node", "-e", f"{_example('js')}\nconsole.log({calls})"], capture_output=True, text=True, check=True
    )

    assert ran.stdout.split() == ["true", "false"]


@_needs("php")
@pytest.mark.parametrize(("signature", "last_word"), [(_GENUINE, "genuine"), (_FORGED, "")])
def test_php(signature: str, last_word: str) -> None:
    example = _example("php").replace("file_get_contents('php://input')", f"'{_BODY}'")
    given = f"$secret = '{_SECRET}'; $_SERVER['HTTP_X_MAILEMENT_SIGNATURE'] = '{signature}';"

    ran = subprocess.run(
        ["php", "-r", f"{given}\n{example}\necho 'genuine';"], capture_output=True, text=True, check=True
    )

    assert ran.stdout == last_word


@_needs("openssl")
@pytest.mark.parametrize(("signature", "last_word"), [(_GENUINE, "genuine"), (_FORGED, "")])
def test_shell(tmp_path: Path, signature: str, last_word: str) -> None:
    (tmp_path / "body.json").write_text(_BODY, encoding="utf-8")

    ran = subprocess.run(
        ["sh", "-c", f"SECRET='{_SECRET}' SIGNATURE='{signature}'\n{_example('sh')}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout.strip() == last_word
