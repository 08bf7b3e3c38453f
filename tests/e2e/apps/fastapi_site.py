"""FastAPI: checked input, a dependency, a thread, a file, task groups."""

import time
import anyio
from fastapi import BackgroundTasks, Depends, FastAPI, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()

class Item(BaseModel):
    name: str
    price: float

def dependency():
    yield "dependency"

@app.get("/items/{number}")
async def item(number: int, which: str = Depends(dependency)):
    return {"number": number, "which": which}

@app.post("/items")
async def create(item: Item):
    return item

@app.get("/thread")
def thread():
    time.sleep(0.05)
    return "from a thread"

@app.post("/file")
async def file(file: UploadFile):
    return {"size": len(await file.read())}

@app.get("/group")
async def group():
    found = []
    async def add(number):
        await anyio.sleep(0.01)
        found.append(number)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(add, number)
    return sorted(found)

@app.get("/groups-fail")
async def groups_fail():
    async def fail():
        raise ValueError("in a group")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
