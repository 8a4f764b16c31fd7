"""`/openapi.json` and `/docs` tell the truth and need nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from typing_extensions import override

from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, Tenant

PATHS = {
    "/api/v1/subscribe",
    "/api/v1/subscribers",
    "/api/v1/subscribers/unsubscribe",
    "/api/v1/subscribers/tags",
    "/api/v1/drips/{id}/enroll",
}

# Section 3 of the document, and the table of the dialect's README.
CODES = {
    "missing_api_key": 401,
    "invalid_api_key": 401,
    "brand_not_found": 404,
    "invalid_email": 422,
    "email_too_long": 422,
    "first_name_too_long": 422,
    "last_name_too_long": 422,
    "city_too_long": 422,
    "missing_subscriber_identifier": 422,
    "subscriber_not_found": 404,
    "drip_not_found": 404,
    "enroll_failed": 422,
    "invalid_json": 400,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_body": 422,
    "invalid_first_name": 422,
    "invalid_last_name": 422,
    "invalid_city": 422,
    "invalid_source": 422,
    "source_too_long": 422,
    "invalid_topic_ids": 422,
    "invalid_tags": 422,
    "invalid_add": 422,
    "invalid_remove": 422,
    "invalid_custom_fields": 422,
    "custom_fields_too_long": 422,
    "invalid_auto_confirm": 422,
    "invalid_subscriber_id": 422,
    "internal_error": 500,
    "service_unavailable": 503,
}
# Belongs to no endpoint, so no endpoint documents it.
ELSEWHERE = {"not_found"}


# Additions of ours have tests of their own.
_OURS = ("/api/v1/webhooks/", "/api/v1/messages", "/api/v1/drips", "/api/v1/runs", "/api/v1/events")


async def _openapi(api: ApiUnderTest) -> Any:
    answer = await api.request("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return answer.body


async def _paths(api: ApiUnderTest) -> dict[str, Any]:
    """Those of the document."""
    paths = (await _openapi(api))["paths"]
    return {path: methods for path, methods in paths.items() if path in PATHS or not path.startswith(_OURS)}


def _documented(operation: Any) -> set[tuple[str, int]]:
    return {
        (code, int(status))
        for status, response in operation["responses"].items()
        for code in re.findall(r"^`(\w+)`", response["description"], re.MULTILINE)
    }


async def test_the_description_is_valid_openapi_3_1(api: ApiUnderTest) -> None:
    description = await _openapi(api)
    assert description["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(description).validate()


async def test_every_endpoint_is_described(api: ApiUnderTest) -> None:
    paths = await _paths(api)
    assert set(paths) == PATHS
    assert all(set(methods) == {"post"} for methods in paths.values())


async def test_every_code_is_described_with_its_status(api: ApiUnderTest) -> None:
    paths = await _paths(api)
    documented = set().union(*(_documented(path["post"]) for path in paths.values()))
    assert documented == set(CODES.items())


async def test_the_schema_of_errors_names_every_code(api: ApiUnderTest) -> None:
    schemas = (await _openapi(api))["components"]["schemas"]
    assert set(schemas["ok_error"]["properties"]["error"]["enum"]) == set(CODES) | ELSEWHERE
    assert set(schemas["success_error"]["properties"]["error"]["enum"]) == set(CODES) | ELSEWHERE


async def test_the_custom_header_is_described_where_it_is_taken(api: ApiUnderTest) -> None:
    paths = await _paths(api)
    taking = {path for path, methods in paths.items() if {"customHeader": []} in methods["post"]["security"]}
    assert taking == {path for path in PATHS if path.startswith("/api/v1/subscribers")}
    assert all({"bearer": []} in methods["post"]["security"] for methods in paths.values())


async def test_examples_fit_their_schemas(api: ApiUnderTest) -> None:
    description = await _openapi(api)
    for path in (await _paths(api)).values():
        sent = path["post"]["requestBody"]["content"]["application/json"]
        answered = path["post"]["responses"]["200"]["content"]["application/json"]
        for part in (sent, answered):
            schema = {**part["schema"], "components": description["components"]}
            OAS31Validator(schema).validate(part["example"])


@pytest.mark.parametrize("path", sorted(PATHS))
async def test_the_described_example_works_when_it_is_sent(
    api: ApiUnderTest, brand: Tenant, path: str
) -> None:
    operation = (await _openapi(api))["paths"][path]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber(example.get("email", READER))
    answer = await api.post(path.replace("{id}", str(drip)), example, key=brand.key)
    described = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer.status == 200
    OAS31Validator(described).validate(answer.body)


@pytest.mark.parametrize("path", sorted(PATHS))
async def test_errors_are_as_they_are_described(api: ApiUnderTest, brand: Tenant, path: str) -> None:
    description = await _openapi(api)
    answer = await api.post(path.replace("{id}", "1"), {"email": "nobody"}, key=brand.key)
    response = description["paths"][path]["post"]["responses"][str(answer.status)]
    schema = {**response["content"]["application/json"]["schema"], "components": description["components"]}
    OAS31Validator(schema).validate(answer.body)


class _Page(HTMLParser):
    """What a page would make a browser load, and the words that it shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(html)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        loading = {"src", "srcset", "action", "data", "poster", "background"}
        if tag == "link":
            loading = loading | {"href"}
        self.loads += [value for name, value in attrs if name in loading and value]

    @override
    def handle_data(self, data: str) -> None:
        self.words += data


async def test_the_page_loads_nothing_from_outside(api: ApiUnderTest) -> None:
    answer = await api.request("GET", "/docs")
    page = answer.raw.decode()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert all(address.startswith("data:") for address in _Page(page).loads)
    assert not _Page(page).tags & {"script", "iframe", "object", "embed", "img"}
    assert not re.search(r"url\(|@import", page)


async def test_the_page_shows_every_endpoint_and_every_code(api: ApiUnderTest) -> None:
    words = _Page((await api.request("GET", "/docs")).raw.decode()).words
    assert [path for path in PATHS if path not in words] == []
    assert [code for code in CODES if code not in words] == []
