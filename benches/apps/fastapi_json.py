"""What most people write: FastAPI and a dict."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello():
    return {"message": "Hello, world!", "numbers": [1, 2, 3]}
