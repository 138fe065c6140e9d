"""The HTTP endpoints of a server: the list of models, and the creation of client secrets.

Handshakes go to the `HandshakePolicy`, which also checks the origin and key of other requests.
"""

from __future__ import annotations

import asyncio
import re
import time
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from rtchat.core.events import ServerProblem
from rtchat.core.values import JsonObject
from rtchat.server.connection import Shared, random_id
from rtchat.server.handshake import (
    JSON,
    SERVER_ERROR,
    ClientConnection,
    HandshakePolicy,
    json_response,
    overloaded,
    refused,
)
from rtchat.server.items import CommandError
from rtchat.server.protocol import ProtocolSession
from rtchat.server.request_body import MAX_BODY
from rtchat.wire.http_bodies import (
    SecretEndpoint,
    SecretRequest,
    read_secret_request,
    write_model,
    write_models,
    write_secret,
)

PATH = "/v1/realtime"
_ROUTE = re.compile(r"(?:/openai)?(?:/v1)?(/.+)")
"""The path of an endpoint, after the prefixes of OpenAI and Azure."""
_REALTIME, _MODELS = "/realtime", "/models"
_TRANSLATIONS = "/realtime/translations"
_SECRETS = {f"{_REALTIME}{endpoint.value}": endpoint for endpoint in SecretEndpoint}
_UNREADABLE = {
    HTTPStatus.LENGTH_REQUIRED: "The request has no Content-Length.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"The request is too large (maximum: {MAX_BODY} bytes).",
    HTTPStatus.BAD_REQUEST: "The Content-Length of the request is invalid.",
}


class HttpEndpoints:
    """Answers the requests to a server."""

    def __init__(self, shared: Shared, policy: HandshakePolicy) -> None:
        self._shared = shared
        self._policy = policy
        self._created = int(time.time())

    async def answer(self, link: ClientConnection, request: Request) -> Response | None:
        """The response to a request; None if it is an accepted handshake."""
        response = await self._answer(link, request)
        origins = request.headers.get_all("Origin")
        if response is not None and origins and self._policy.refuse_origin(request) is None:
            response.headers["Access-Control-Allow-Origin"] = origins[0]
            response.headers["Vary"] = "Origin"
        return response

    async def _answer(self, link: ClientConnection, request: Request) -> Response | None:
        route = _route(request)
        method = "POST" if route in _SECRETS else "GET"
        if route == _TRANSLATIONS:
            return refused(HTTPStatus.NOT_FOUND, "This server cannot translate speech.")
        if route not in (_REALTIME, _MODELS, *_SECRETS) and not route.startswith(f"{_MODELS}/"):
            return refused(HTTPStatus.NOT_FOUND, f"Not found. The Realtime API is at {PATH}.")
        if request.method == "OPTIONS":
            return self._policy.refuse_origin(request) or _preflight(request, method)
        if request.method != method:
            message = f"The method {request.method} is not allowed. Use {method}."
            response = refused(HTTPStatus.METHOD_NOT_ALLOWED, message)
            response.headers["Allow"] = method
            return response
        if route == _REALTIME:
            return self._policy.check(link, request)
        if (refusal := self._policy.refuse(request)) is not None:
            return refusal
        if route in _SECRETS:
            return await self._create_secret(link, _SECRETS[route])
        return self._models(unquote(route.removeprefix(_MODELS).removeprefix("/")))

    def _models(self, name: str) -> Response:
        model = self._shared.engine.model
        if not name:
            return json_response(HTTPStatus.OK, write_models([model], self._created))
        if name == model:
            return json_response(HTTPStatus.OK, write_model(model, self._created))
        message = f"The model '{name}' does not exist."
        return refused(HTTPStatus.NOT_FOUND, message, "model_not_found", "model")

    async def _create_secret(self, link: ClientConnection, endpoint: SecretEndpoint) -> Response:
        body = await link.body.read()
        if isinstance(body, HTTPStatus):
            return refused(body, _UNREADABLE[body])
        read = await asyncio.to_thread(read_secret_request, body, endpoint)
        if isinstance(read, ServerProblem):
            return _refused(read)
        try:
            session = self._session(read)
        except CommandError as error:
            return _refused(error.problem)
        now = time.monotonic()
        if self._shared.secrets.is_full(now):
            return overloaded()
        secret = random_id("ek")
        expires_at = int(time.time()) + read.seconds
        self._shared.secrets.add(secret, read, now)
        return json_response(HTTPStatus.OK, write_secret(endpoint, secret, expires_at, session))

    def _session(self, request: SecretRequest) -> JsonObject:
        """The session that a secret will open. Raises `CommandError` if it cannot be opened."""
        session = ProtocolSession(
            self._shared.engine,
            new_id=random_id,
            now=0.0,
            voice=self._shared.voice,
            seconds=0.0,  # not begun
            transcribes=request.transcribes,
            limits=self._shared.limits,
            budget=self._shared.budget,
        )
        session.check_options(request.options)
        session.configure(request.options)
        return session.session_object()


def _route(request: Request) -> str:
    try:
        match = _ROUTE.fullmatch(urlsplit(request.path).path)
    except ValueError:
        return ""
    return match[1] if match else ""


def _preflight(request: Request, method: str) -> Response:
    """The response to a preflight request, in which a browser asks whether a page may send a
    request."""
    response = Response(HTTPStatus.NO_CONTENT.value, HTTPStatus.NO_CONTENT.phrase, Headers())
    response.headers["Access-Control-Allow-Methods"] = method
    for names in request.headers.get_all("Access-Control-Request-Headers"):
        response.headers["Access-Control-Allow-Headers"] = names
    response.headers["Connection"] = "close"
    return response


def _refused(problem: ServerProblem) -> Response:
    if problem.kind == SERVER_ERROR:  # not enough memory for the session
        return overloaded()
    return refused(HTTPStatus.BAD_REQUEST, problem.message, problem.code, problem.param)


def error_as_json(_link: object, _request: Request, response: Response) -> Response | None:
    """Convert an error of `websockets` to the format of OpenAI's API. None leaves the response
    unchanged."""
    if response.status_code < HTTPStatus.BAD_REQUEST or response.headers["Content-Type"] == JSON:
        return None
    message = " ".join(bytes(response.body).decode().split())
    error = refused(HTTPStatus(response.status_code), message)
    for name in ("Allow", "Upgrade"):
        for text in response.headers.get_all(name):
            error.headers[name] = text
    return error
