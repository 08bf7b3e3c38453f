"""A wall of notes: what a small Flask app looks like when it is made by a factory."""

from collections import deque
from threading import Lock

from flask import Flask, redirect, render_template_string, request

PAGE = """<!doctype html>
<title>{{ title }}</title>
<h1>{{ title }}</h1>
<form method="post"><input name="note" maxlength="200" required> <button>Add</button></form>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
"""


def create_app(title, entries_max=20):
    """The app, with a wall that keeps the latest `entries_max` notes."""
    app = Flask(__name__)
    notes = deque(maxlen=entries_max)
    lock = Lock()

    @app.get("/")
    def show():
        with lock:
            return render_template_string(PAGE, title=title, notes=list(notes))

    @app.post("/")
    def add():
        with lock:
            notes.appendleft(request.form["note"][:200])
        return redirect("/", code=303)

    @app.get("/api/notes")
    def api():
        with lock:
            return {"notes": list(notes)}

    return app
