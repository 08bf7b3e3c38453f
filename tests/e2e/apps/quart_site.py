"""Quart: what runs before serving, a body, a stream."""

import asyncio
from quart import Quart, request

app = Quart(__name__)

@app.before_serving
async def startup():
    app.started = True

@app.route("/")
async def home():
    return f"hello {request.args['name']} {app.started}"

@app.post("/echo")
async def echo():
    return await request.get_data()

@app.route("/stream")
async def stream():
    async def pieces():
        for number in range(3):
            yield f"{number} ".encode()
            await asyncio.sleep(0.01)
    return pieces(), 200
