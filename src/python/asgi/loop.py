# The life of a worker's event loop: made before the app starts up, closed after it has shut down. Runs in the engine,
# with what the engine gives it: `say(level, text)` writes to the error log.
import asyncio
import collections
import sys
import traceback


def new_loop(kind):
    if kind == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def has_uvloop():
    try:
        import uvloop
    except ImportError:
        return False
    return True


class RunningTasks(collections.UserDict):
    """asyncio's table of the tasks that run, by loop. A request that has none gets it when somebody looks."""

    def __init__(self, table, loop, current_task):
        self.data, self.loop, self.current_task = table, loop, current_task

    def get(self, loop, default=None):
        if loop is not self.loop or loop in self.data:
            return self.data.get(loop, default)
        task = self.current_task()
        return default if task is None else task


def watch_running_tasks(loop, current_task):
    """For CPython 3.11, whose `asyncio.current_task` looks into this table."""
    asyncio.tasks._current_tasks = RunningTasks(asyncio.tasks._current_tasks, loop, current_task)


class StartupFailed(Exception):
    """The reason stands in the log already."""


class Lifespan:
    """The app's lifespan: one task that lives as long as the worker."""

    def __init__(self, loop, app, mode, state, say):
        self.loop, self.app, self.mode, self.state, self.say = loop, app, mode, state, say
        self.messages = asyncio.Queue()
        self.started, self.stopped = loop.create_future(), loop.create_future()
        self.has_received = False
        self.is_on = mode != "off"
        self.task = None

    def start(self):
        if not self.is_on:
            return
        self.messages.put_nowait({"type": "lifespan.startup"})
        self.task = self.loop.create_task(self.run())
        self.loop.run_until_complete(self.started)
        failure = self.started.result()
        if failure is not None:
            self.loop.run_until_complete(self.end())
            self.say("error", failure)
            raise StartupFailed

    def stop(self, seconds):
        """After the last request."""
        if not self.is_on or self.task is None or self.task.done():
            return
        self.messages.put_nowait({"type": "lifespan.shutdown"})
        waiting = asyncio.wait({self.task, self.stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        self.loop.run_until_complete(waiting)
        if self.stopped.done() and self.stopped.result():
            self.say("error", f"the app's lifespan shutdown failed: {self.stopped.result()}")
        elif not self.stopped.done() and not self.task.done():
            self.say("warning", "the app's lifespan shutdown took longer than timeouts.graceful; it is cut off")
        self.loop.run_until_complete(self.end())

    async def end(self):
        if self.task is not None and not self.task.done():
            done, _ = await asyncio.wait({self.task}, timeout=0.1)
            if not done:
                self.task.cancel()
                await asyncio.wait({self.task}, timeout=1)

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.receive, self.send)
        except BaseException as error:
            self.failed(error)
        else:
            self.returned()

    def failed(self, error):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
        if self.started.done():
            if not isinstance(error, asyncio.CancelledError):
                self.say("error", f"the app's lifespan failed:\n{text}")
        elif self.mode == "auto" and not self.has_received and not isinstance(error, (SystemExit, KeyboardInterrupt)):
            # It did not even ask what it is to do: it does not know this type of scope.
            self.is_on = False
            self.say("info", f"the app has no lifespan: it raised {last_line(text)}")
            self.started.set_result(None)
        else:
            self.started.set_result(f"the app's lifespan startup failed:\n{text}")

    def returned(self):
        if self.started.done():
            return
        if self.mode == "auto":
            self.is_on = False
            self.say("info", "the app has no lifespan: it returned without taking part")
            self.started.set_result(None)
        else:
            self.started.set_result("the app's lifespan startup failed: it returned without taking part, and `lifespan` is \"on\"")

    async def receive(self):
        self.has_received = True
        return await self.messages.get()

    async def send(self, message):
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            settle(self.started, None)
        elif kind == "lifespan.startup.failed":
            settle(self.started, f"the app's lifespan startup failed: {message.get('message', '')}")
        elif kind == "lifespan.shutdown.complete":
            settle(self.stopped, "")
        elif kind == "lifespan.shutdown.failed":
            settle(self.stopped, message.get("message", "") or "without a reason")
        else:
            raise ValueError(f"{kind!r} is no message of a lifespan")


class Service:
    """What the loop runs for while the worker serves: a task that waits until that is over.

    A loop that runs for a task and not for ever has what libraries look for: anyio ties the pool of threads that FastAPI and
    Starlette use to that task. Without one it ties each thread to the request that began it, and ends it with the request."""

    def __init__(self, loop):
        self.loop, self.over = loop, loop.create_future()
        self.task = asyncio.Task(self.wait(), loop=loop, name="rgunicorn serves")

    def run(self):
        """Until `stop`. May be called again after an exception that ended the loop before."""
        self.loop.run_until_complete(self.task)

    def stop(self):
        settle(self.over, None)

    async def wait(self):
        while not self.over.done():
            try:
                await asyncio.wait({self.over})
            except asyncio.CancelledError:
                # An app that cancels all tasks of its loop means its own.
                pass


def settle(future, result):
    if not future.done():
        future.set_result(result)


def last_line(text):
    return text.rstrip().rpartition("\n")[2].strip()


def close(loop, seconds):
    """Cancels what still runs, and closes the loop."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=seconds))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        # A loop with tasks that would not be cancelled cannot be closed in order; the process ends anyway.
        if not asyncio.all_tasks(loop):
            loop.close()
