"""A chat room: a page, a JSON API and a WebSocket in one FastAPI app."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

PAGE = """<!doctype html>
<title>Hello from FastAPI</title>
<h1>Hello from FastAPI</h1>
<form><input maxlength="200" required> <button>Say</button></form>
<ul></ul>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "room")
  socket.onmessage = (event) => document.querySelector("ul").prepend(Object.assign(document.createElement("li"), { textContent: event.data }))
  document.forms[0].onsubmit = (event) => { event.preventDefault(); socket.send(event.target[0].value); event.target.reset() }
</script>
"""

app = FastAPI()
guests: set[WebSocket] = set()


@app.get("/", response_class=HTMLResponse)
async def page():
    return PAGE


@app.get("/api/guests")
async def count():
    return {"guests": len(guests)}


@app.websocket("/room")
async def room(socket: WebSocket):
    await socket.accept()
    guests.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            for guest in list(guests):
                await guest.send_text(text[:200])
    except WebSocketDisconnect:
        pass
    finally:
        guests.discard(socket)
