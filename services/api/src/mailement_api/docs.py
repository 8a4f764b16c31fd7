"""`/openapi.json` for machines, `/docs` for people; both made from the dialects."""

from __future__ import annotations

import re
from html import escape
from importlib.metadata import version
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mailement_api.context import name_endpoint
from mailement_api.dialects.mailement import openapi as mailement
from mailement_api.dialects.mailement.drips import openapi as drips
from mailement_api.dialects.mailement.messages import openapi as messages
from mailement_api.dialects.mailement.webhooks import openapi as webhooks
from mailement_api.page import page

_OPERATIONS: Final = (*mailement.OPERATIONS, *drips.OPERATIONS, *messages.OPERATIONS, *webhooks.OPERATIONS)
_CODE: Final = re.compile(r"`([^`]*)`")


def routes(public_url: str) -> list[Route]:
    description = document(public_url)
    as_json = orjson.dumps(description)
    as_page = render(description)

    async def openapi(request: Request) -> Response:
        name_endpoint(request.scope, "/openapi.json")
        return Response(as_json, media_type="application/json", headers={"Access-Control-Allow-Origin": "*"})

    async def docs(request: Request) -> Response:
        name_endpoint(request.scope, "/docs")
        return HTMLResponse(as_page)

    return [Route("/openapi.json", openapi), Route("/docs", docs)]


def document(public_url: str) -> dict[str, Any]:
    """The whole ingress as OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mailement API",
            "version": version("mailement-api"),
            "description": "Subscribe, unsubscribe, tag and enrol; drips, their runs and the events that move them; what became of mails and "
            "of webhooks. Each key belongs to one brand.",
        },
        "servers": [{"url": public_url}],
        "paths": mailement.paths(_OPERATIONS),
        "components": {
            "schemas": mailement.schemas(_OPERATIONS),
            "securitySchemes": mailement.security_schemes(),
        },
    }


def render(description: dict[str, Any]) -> str:
    info = description["info"]
    sections = [
        _operation(description, method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    head = (
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])} "
        'The same for machines: <a href="openapi.json">openapi.json</a>.</p>'
        f"<p>Base URL: <code>{escape(description['servers'][0]['url'])}</code></p>"
    )
    return page(info["title"], head + "".join(sections))


def _operation(description: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    success = operation["responses"]["200"]["content"]["application/json"]["example"]
    return (
        f'<section id="{escape(operation["operationId"])}"><h2><span class="method">{method.upper()}</span> '
        f"<code>{escape(path)}</code></h2><p>{_prose(operation['summary'])}</p>"
        f"{_request(description, operation)}"
        f"<h3>Answer</h3>{_example(success)}<h3>Errors</h3>{_errors(operation['responses'])}</section>"
    )


def _request(description: dict[str, Any], operation: dict[str, Any]) -> str:
    """The body and what may stand behind the question mark; nothing where there is neither."""
    text = ""
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        schema = description["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        text += f"<h3>Request</h3>{_example(content['example'])}{_fields(schema)}"
    if query := [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]:
        rows = "".join(
            f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(_kind(parameter['schema']))}</td>"
            f"<td>{_prose(parameter['description'])}</td></tr>"
            for parameter in query
        )
        text += f"<h3>Query</h3><table><tbody>{rows}</tbody></table>"
    return text


def _fields(schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(field))}</td>"
        f"<td>{'required' if name in schema.get('required', []) else ''}</td></tr>"
        for name, field in schema["properties"].items()
    )
    return f"<table><thead><tr><th>Field</th><th>Type</th><th></th></tr></thead><tbody>{rows}</tbody></table>"


def _kind(field: dict[str, Any]) -> str:
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    kind = options[0]
    words = str(kind.get("type", ""))
    if "items" in kind:
        words += f" of {kind['items'].get('type', 'values')}"
    if "maxLength" in kind:
        words += f", at most {kind['maxLength']} characters"
    if "maxItems" in kind:
        words += f", at most {kind['maxItems']}"
    return words


def _errors(responses: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{_codes(response['description'])}</td></tr>"
        for status, response in responses.items()
        if status != "200"
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _codes(description: str) -> str:
    lines = [line.partition(": ") for line in description.splitlines()]
    return "<br>".join(f"{_prose(code)} {_prose(text)}" for code, _, text in lines)


def _prose(text: str) -> str:
    """Text in which backticks mean code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _example(value: object) -> str:
    return f"<pre>{escape(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</pre>"
