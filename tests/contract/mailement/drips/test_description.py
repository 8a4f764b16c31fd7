"""The models that describe a drip."""

from __future__ import annotations

import pytest

from mailement_api.dialects.mailement.drips.requests import DripBody, StepBody
from mailement_newsletter.errors import InvalidDrip
from mailement_newsletter.rules.drip_definition import read_definition


def test_the_description_of_a_drip_names_the_settings_that_there_are() -> None:
    """The models only describe; what they name is what the rules read, and the other way round."""
    settings_ = {field.alias or name for name, field in DripBody.model_fields.items()}
    steps = {field.alias or name for name, field in StepBody.model_fields.items()}
    with pytest.raises(InvalidDrip) as refusal:
        read_definition({**dict.fromkeys(settings_, 7.5), "steps": [dict.fromkeys(steps, 7.5)], "unknown": 1})
    unknown = {fault.at for fault in refusal.value.faults if "no such setting" in fault.message}
    assert unknown == {"unknown"}
    assert (
        steps - {fault.at.split(".")[2] for fault in refusal.value.faults if fault.at.count(".") > 1} == set()
    )
