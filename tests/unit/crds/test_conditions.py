from __future__ import annotations

import pytest
from pydantic import ValidationError

from vedette_crds.conditions import MAX_MESSAGE, REASONS, TYPES, Condition

WRITTEN = {
    "type": "Accepted",
    "status": "True",
    "reason": "Valid",
    "message": "",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-11-22T10:00:00Z",
}


def test_a_condition_is_written_as_kubernetes_writes_it() -> None:
    assert Condition.model_validate(WRITTEN).model_dump(exclude_none=True) == WRITTEN


@pytest.mark.parametrize(
    "wrong", [{"status": "Perhaps"}, {"reason": "two words"}, {"type": ""}, {"message": "x" * (MAX_MESSAGE + 1)}]
)
def test_what_the_api_server_would_refuse_is_no_condition(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate({**WRITTEN, **wrong})


def test_types_and_reasons_are_camel_case_and_explained() -> None:
    for name, meaning in {**TYPES, **REASONS}.items():
        assert name.isalpha()
        assert name[0].isupper()
        assert meaning
        assert not meaning.endswith(".")
