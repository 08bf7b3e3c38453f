"""What a request's coroutine can see and do of its task, in its first step and later. Each case is also run as asyncio runs
any other coroutine, by which the test knows what it should say."""

import asyncio
import contextvars

said = contextvars.ContextVar("said", default="nothing")
called_back = []


async def app(scope, receive, send):
    assert scope["type"] == "http"
    case, _, how = scope["path"].strip("/").partition("/")
    if how == "in-a-task":
        text = await asyncio.create_task(globals()[case]())
    else:
        text = await globals()[case]()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(text).encode()})


async def current():
    task = asyncio.current_task()
    name = task.get_name()
    await asyncio.sleep(0.01)
    return isinstance(task, asyncio.Task), asyncio.current_task() is task, task.get_name() == name, task in asyncio.all_tasks()


async def current_only_later():
    await asyncio.sleep(0)
    task = asyncio.current_task()
    return isinstance(task, asyncio.Task), task in asyncio.all_tasks(), task.done()


async def current_and_no_wait():
    task = asyncio.current_task()
    task.add_done_callback(lambda task: called_back.append(task.cancelled()))
    return isinstance(task, asyncio.Task), asyncio.current_task() is task, task.done()


async def callbacks():
    await asyncio.sleep(0.01)
    return called_back


async def variables():
    token = said.set("mine")
    child = asyncio.create_task(what_is_said())
    await asyncio.sleep(0)
    told = said.get(), await child
    said.reset(token)
    return told, said.get()


async def variables_of_others():
    before = said.get()
    said.set("left behind")
    return before


async def what_is_said():
    return said.get()


async def cancelled_by_itself():
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError as error:
        return "cancelled", error.args


async def cancelled_with_what_it_waits_for():
    inner = asyncio.create_task(asyncio.sleep(5))
    asyncio.current_task().cancel()
    try:
        await inner
    except asyncio.CancelledError:
        return inner.cancelled()


async def cancelled_while_done():
    done = asyncio.get_running_loop().create_future()
    done.set_result("done")
    asyncio.current_task().cancel()
    result = await done
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        return result, "then cancelled"


async def cancelled_by_another():
    task = asyncio.current_task()
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError as error:
        return "cancelled", error.args


async def shielded():
    inner = asyncio.create_task(asyncio.sleep(0.05, "finished"))
    asyncio.current_task().cancel()
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        return await inner


async def shared_future():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        return await future

    other = asyncio.create_task(wait())
    asyncio.get_running_loop().call_later(0.01, future.set_result, "set")
    return await future, await other


async def waited_for():
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0.01)
    except asyncio.TimeoutError:
        return "timed out"


async def nothing_left():
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0)
    except asyncio.TimeoutError:
        return "timed out"


async def timeout():
    if not hasattr(asyncio, "timeout"):
        return "not before 3.11"
    told = []
    for seconds in [0.01, 0]:
        try:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(5)
        except TimeoutError:
            told.append(("timed out", asyncio.current_task().cancelling()))
    return told


async def group():
    if not hasattr(asyncio, "TaskGroup"):
        return "not before 3.11"

    async def fail(kind):
        raise kind("on purpose")

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail(ValueError))
            tasks.create_task(fail(KeyError))
            await asyncio.sleep(5)
    except BaseExceptionGroup as failures:
        kinds = [type(failure).__name__ for failure in failures.exceptions]
        return sorted(kinds), asyncio.current_task().cancelling()


async def gathered():
    return await asyncio.gather(asyncio.sleep(0.01, 1), what_is_said(), asyncio.sleep(0, 3))


async def bare_yields():
    told = []
    asyncio.get_running_loop().call_soon(told.append, "in between")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return told


async def thread():
    return await asyncio.get_running_loop().run_in_executor(None, lambda: "in a thread")
