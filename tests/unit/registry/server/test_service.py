"""How a registry answers when something fails that is no client's fault."""

import json

import pytest

from layers.errors import StoreError
from rootless.registry.server.http import ClientGone, Request
from rootless.registry.server.service import Service
from rootless.registry.server.storage import Storage


async def ask(service, target):
    async def nothing():
        return
        yield

    answer = await service.respond(Request("GET", target, {}, nothing))
    return answer.status, json.loads(answer.body)["errors"][0]


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (OSError(5, "Input/output error"), 500, "the registry failed"),
        (StoreError("cannot write to the store: No space left on device"), 507, "No space left"),
        (ZeroDivisionError("a bug"), 500, "the registry failed"),
    ],
)
async def test_failure_costs_one_answer_and_is_told(tmp_path, failure, status, message):
    told = []
    storage = Storage(str(tmp_path))
    storage.ensure()
    service = Service(storage, complain=told.append)

    def fail(*_):
        raise failure

    storage.tags = fail
    got, error = await ask(service, "/v2/a/tags/list")
    assert (got, error["code"]) == (status, "UNKNOWN")
    assert message in error["message"]
    assert len(told) == 1
    assert told[0].startswith(f"GET /v2/a/tags/list: {type(failure).__name__}: ")
    del storage.tags
    assert (await ask(service, "/v2/a/tags/list"))[0] == 404


async def test_client_that_went_is_nobodys_failure(tmp_path):
    told = []
    storage = Storage(str(tmp_path))
    storage.ensure()
    service = Service(storage, complain=told.append)

    async def gone():
        raise ClientGone
        yield

    with pytest.raises(ClientGone):
        await service.respond(Request("PUT", "/v2/a/manifests/1", {}, gone))
    assert told == []
