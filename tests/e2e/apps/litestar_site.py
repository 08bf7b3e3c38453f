"""Litestar: handlers of both kinds, a body, a stream."""

from litestar import Litestar, get, post
from litestar.response import Stream

@get("/")
async def home(name: str) -> dict[str, str]:
    return {"hello": name}

@get("/sync", sync_to_thread=True)
def sync() -> str:
    return "from a thread"

@post("/echo")
async def echo(data: dict[str, int]) -> dict[str, int]:
    return data

@get("/stream")
async def stream() -> Stream:
    async def pieces():
        for number in range(3):
            yield f"{number} "
    return Stream(pieces())

app = Litestar([home, sync, echo, stream])
