# The Python stacks of threads, tasks and greenlets as text. Runs in the engine, in the worker that is asked.
import gc
import sys
import traceback

# Frames shown of one stack, and tasks or greenlets of one worker: a dump has a bound whatever the app does.
FRAMES_MAX = 60
SHOWN_MAX = 200


def of_thread(ident):
    """The stack of a thread as a traceback shows it: the call that is under way comes last."""
    return as_traceback(callers(sys._current_frames().get(ident)))


def of_greenlet(greenlet):
    """The stack of a greenlet that waits."""
    return as_traceback(callers(greenlet.gr_frame))


def of_task(task):
    """The stack of a task that waits: what its coroutine awaits, down to what is not a coroutine."""
    return as_traceback(awaited(task.get_coro()))


def callers(frame):
    """The innermost frames of a stack, outermost first."""
    frames = []
    while frame is not None and len(frames) < FRAMES_MAX:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def awaited(awaitable):
    """The frames of a coroutine that waits, and of what it waits for, outermost first."""
    frames = []
    while awaitable is not None and len(frames) < FRAMES_MAX:
        frame = first(awaitable, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            frames.append(frame)
        awaitable = first(awaitable, "cr_await", "gi_yieldfrom", "ag_await")
    return frames


def first(thing, *names):
    found = (getattr(thing, name, None) for name in names)
    return next((value for value in found if value is not None), None)


def as_traceback(frames):
    if not frames:
        return ""
    stack = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    return "".join(["Stack (most recent call last):\n", *stack.format()])


def all_tasks(loop):
    """The tasks of a loop, one stack below the other, in the form of faulthandler: the innermost frame comes first."""
    import asyncio

    tasks = asyncio.all_tasks(loop)
    return listed("Task", ((task.get_name(), awaited(task.get_coro())) for task in tasks), len(tasks))


def all_greenlets():
    """The greenlets that wait, of the app and of its libraries."""
    import greenlet

    current = greenlet.getcurrent()
    found = [thing for thing in gc.get_objects() if isinstance(thing, greenlet.greenlet)]
    waiting = [thing for thing in found if thing is not current and thing.gr_frame is not None]
    return listed("Greenlet", ((hex(id(thing)), callers(thing.gr_frame)) for thing in waiting), len(waiting))


def listed(kind, stacks, count):
    lines = []
    for number, (name, frames) in enumerate(stacks):
        if number == SHOWN_MAX:
            lines.append(f"\nand {count - SHOWN_MAX} more\n")
            break
        lines.append(f"\n{kind} {name} (most recent call first):\n")
        lines.extend(f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n' for frame in reversed(frames))
    return "".join(lines)
