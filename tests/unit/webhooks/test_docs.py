"""docs/webhooks/receiving.md prints the very code that the tests run."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from mailement_common.events.envelope import Envelope
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.rules.payload import body_for
from mailement_webhooks.rules.profiles import PROMISES, maily_event_id
from mailement_webhooks.rules.retries import SCHEDULE

_ROOT = Path(__file__).parents[3]
_FOLDER = _ROOT / "docs" / "webhooks"
_PAGE = (_FOLDER / "receiving.md").read_text(encoding="utf-8")
_EXAMPLES = {
    "python": "verify.py",
    "php": "verify.php",
    "js": "verify.mjs",
    "go": "verify.go",
    "sh": "verify.sh",
}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", _PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("language", "name"), _EXAMPLES.items())
def test_the_page_prints_the_code_of_the_example(language: str, name: str) -> None:
    example = (_FOLDER / "examples" / name).read_text(encoding="utf-8")
    (region,) = re.findall(
        r"^(?:#|//) region receive\n(.*?)^(?:#|//) endregion$", example, re.MULTILINE | re.DOTALL
    )

    assert region.strip("\n") in _blocks(language)


def test_the_page_shows_the_id_that_belongs_to_the_event() -> None:
    (shown,) = re.findall(r"^webhook-id: (.*)$", _PAGE, re.MULTILINE)

    assert set(re.findall(r"\bevt_\w+", _PAGE)) == {maily_event_id(EventId(UUID(shown)))}


def test_the_page_shows_payloads_that_can_be_read() -> None:
    assert [json.loads(block)["event"] for block in _blocks("json")] == [
        "subscriber.confirmed",
        "drip.webhook",
        "subscriber.created",
    ]


def test_the_page_shows_what_a_drip_posts() -> None:
    (shown,) = [json.loads(block) for block in _blocks("json") if '"drip.webhook"' in block]
    event = Envelope(
        id=EventId(UUID(int=1)),
        type=shown["event"],
        brand_id=BrandId(1),
        occurred_at=datetime.fromisoformat(shown["timestamp"]),
        data={"brand_slug": shown["brand_slug"], **shown["data"]},
    )
    body = body_for(Profile.MAILEMENT, event)
    assert body is not None
    assert json.loads(body) == shown


@pytest.mark.parametrize("profile", Profile)
def test_the_page_names_what_a_profile_promises(profile: Profile) -> None:
    promise = PROMISES[profile]

    for word in (promise.event_header, promise.signature_header, *promise.event_types):
        assert word in _PAGE


def test_the_page_names_every_pause_of_the_schedule() -> None:
    (said,) = re.findall(r"It is tried again after (.*?);", _PAGE, re.DOTALL)
    seconds = {"s": 1, "min": 60, "h": 3600}
    pauses = [int(number) * seconds[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", said)]

    assert pauses == [pause.total_seconds() for pause in SCHEDULE]


def test_the_check_in_the_readme_works() -> None:
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    is_genuine = names["is_genuine"]
    signature = hmac.new(b"whsec_abc", b"{}", hashlib.sha256).hexdigest()

    assert callable(is_genuine)
    assert is_genuine("whsec_abc", b"{}", f"sha256={signature}")
    assert not is_genuine("whsec_abc", b"{} ", f"sha256={signature}")
