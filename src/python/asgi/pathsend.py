# Whether an app is offered `http.response.pathsend`. Runs in the engine.
import gc
import inspect
import types

# Starlette's own middleware that passes on whatever it is sent.
PASSING = {"authentication", "cors", "errors", "exceptions", "httpsredirect", "sessions", "trustedhost"}

# How many objects are looked at, and how deep in objects of unknown kinds.
SEEN_MAX = 10_000
DEPTH_MAX = 4


def may_send_paths(app):
    """Whether nothing but what passes paths on stands between Starlette's responses and the server.

    Its FileResponse sends a path wherever that is offered. Middleware that compresses leaves such a file as it is, and one that reads
    bodies finds none and fails. Which do cannot be known, so a Starlette app with other middleware than PASSING, or in another
    object, is offered nothing and sends files as it does to other servers."""
    waiting, seen = [(app, 0)], {}
    while waiting:
        one, depth = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if len(seen) > SEEN_MAX:
            return False
        if is_starlettes(type(one)):
            if depth > 0 or not all(passes(entry.cls) for entry in getattr(one, "user_middleware", ())):
                return False
            inner = [*(getattr(one, "routes", None) or ()), getattr(one, "app", None), getattr(one, "middleware_stack", None)]
            waiting += [(part, 0) for part in inner if not inspect.isroutine(part)]
        elif passes(type(one)):
            waiting.append((one.app, depth))
        elif depth < DEPTH_MAX:
            waiting += [(part, depth + 1) for part in held(one)]
    return True


def is_starlettes(kind):
    """Whether a class is, or is derived from, one of Starlette's or FastAPI's that is no middleware."""
    modules = [base.__module__.split(".") for base in kind.__mro__]
    return any(names[0] in ("starlette", "fastapi") and "middleware" not in names for names in modules)


def passes(kind):
    package, _, name = getattr(kind, "__module__", "").rpartition(".")
    return (package == "starlette.middleware" and name in PASSING) or package.partition(".")[0] == "fastapi"


def held(one):
    """The callable objects that an object has in attributes, or a function in variables from outside."""
    if isinstance(one, types.FunctionType):
        outer = inspect.getclosurevars(one)
        return [part for part in outer.nonlocals.values() if callable(part)] + list(filter(is_object, outer.globals.values()))
    parts = gc.get_referents(one)
    for part in list(parts):
        if isinstance(part, (dict, list, tuple)):
            parts += gc.get_referents(part)
    return filter(is_object, parts)


def is_object(part):
    return callable(part) and not inspect.isclass(part) and not inspect.isroutine(part)
