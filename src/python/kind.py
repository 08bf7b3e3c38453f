# What kind of app this is. Runs in the engine.
import functools
import inspect


def why_asgi(app):
    """Why this is an ASGI app, in words; None for anything else."""
    while isinstance(app, functools.partial):
        app = app.func
    if is_coroutine_function(app):
        return "the app is a coroutine function"
    call = getattr(type(app), "__call__", None)
    if inspect.ismemberdescriptor(call):
        # A slot: each app of this type has its own, as Sentry's middleware has.
        call = getattr(app, "__call__", None)
    if not inspect.isroutine(app) and not inspect.isclass(app) and is_coroutine_function(call):
        return "the app's `__call__` is a coroutine function"
    if takes_three(app):
        return "the app takes a scope, receive and send"
    return None


def is_coroutine_function(function):
    if inspect.iscoroutinefunction(function):
        return True
    # Frameworks mark plain functions that return coroutines: asyncio's way before Python 3.12, and asgiref's.
    return hasattr(function, "_is_coroutine") or hasattr(function, "_is_coroutine_mark")


def takes_three(app):
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [one for one in parameters if one.default is one.empty and one.kind in positional]
    return len(required) == 3


def is_missing(package):
    import importlib.util

    return importlib.util.find_spec(package) is None
