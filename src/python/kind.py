# What kind of app this is. Runs in the engine.
import functools
import inspect


def why_asgi(app):
    """Why this is an ASGI app, in words; None for anything else."""
    whole = app
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
    if takes_three(whole):
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


def misfit(app, worker_class, name):
    """Why workers of this class cannot call the app, in words; None where they can, and where only a call would tell.

    `name` is the app's own, by which it could be called if it is a factory; None for what a factory has made."""
    is_asgi = worker_class == "asgi" or (worker_class == "auto" and why_asgi(app) is not None)
    interface, other = ("ASGI", "WSGI") if is_asgi else ("WSGI", "ASGI")
    taken = parameters(app)
    can_be_called = can_take(taken, CALLS[interface])
    is_coroutine = is_coroutine_function(app) or is_coroutine_function(called(app))
    if can_be_called and (is_asgi or not is_coroutine):
        return None
    if worker_class != "auto" and can_take(taken, CALLS[other]) or can_be_called:
        kind = "a WSGI app" if is_asgi else "an ASGI app"
        return f'it is {kind}, and `worker_class = "{worker_class}"` calls {interface} apps; leave `worker_class` out'
    told = f"it takes {listed(taken.parameters)}, and {interface} calls an app with {listed(CALLS[interface])}"
    if inspect.isfunction(app) or inspect.isclass(app):
        return told if is_coroutine or name is None else f"{told}; if it makes the app, write `{name}()`"
    kind = type(app)
    return f"{told}; an object of type `{kind.__module__}.{kind.__qualname__}` is neither a WSGI nor an ASGI app"


# What apps are called with.
CALLS = {"WSGI": ("environ", "start_response"), "ASGI": ("scope", "receive", "send")}


def called(app):
    """What runs when an object is called: found on its type, as the call does."""
    call = inspect.getattr_static(type(app), "__call__", None)
    return call.__get__(app, type(app)) if hasattr(call, "__get__") else call


def parameters(app):
    """Its signature; None where that cannot be known. What decorators say about what they wrap does not count: they may call it otherwise."""
    is_plain = inspect.isroutine(app) or inspect.isclass(app) or isinstance(app, functools.partial)
    try:
        return inspect.signature(app if is_plain else called(app), follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def can_take(signature, arguments):
    """True also where nobody can tell."""
    try:
        return signature is None or bool(signature.bind(*arguments))
    except TypeError:
        return False


def listed(names):
    *others, last = [f"`{name}`" for name in names] or ["nothing"]
    return f"{', '.join(others)} and {last}" if others else last


def is_missing(package):
    import importlib.util

    return importlib.util.find_spec(package) is None
