# Executes a Gunicorn configuration the way Gunicorn does, and tells on standard output, as one JSON object, what it sets.
# Whatever the configuration itself prints goes to standard error.
import ast
import importlib
import json
import os
import sys
import traceback
import types

location, known = sys.argv[1], frozenset(sys.argv[2].split(","))
report = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.argv = ["gunicorn"]
sys.path[0] = os.getcwd()

SHOWN_MAX = 300  # characters of an expression or a value that is only shown
DEPTH_MAX = 6


def plain(value, depth=0):
    """What JSON can say of a value; TypeError where it cannot."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if depth < DEPTH_MAX:
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {str(name): plain(item, depth + 1) for name, item in value.items()}
    raise TypeError


def described(value, path):
    if isinstance(value, type):
        return {"plain": f"{value.__module__}.{value.__qualname__}"}
    if callable(value):
        code = getattr(value, "__code__", None)
        file = getattr(code, "co_filename", None)
        return {
            "function": {
                "name": getattr(value, "__qualname__", type(value).__qualname__),
                # A configuration that is a file has no name by which it could be imported.
                "module": None if file == path else getattr(value, "__module__", None),
                "line": getattr(code, "co_firstlineno", None),
            }
        }
    try:
        return {"plain": plain(value)}
    except TypeError:
        return {"other": repr(value)[:SHOWN_MAX]}


def texts(node, expressions):
    """The texts in an expression and in those that its names stand for: names of environment variables are among them."""
    found, waiting, seen = set(), [node], set()
    while waiting:
        for inner in ast.walk(waiting.pop()):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                found.add(inner.value)
            elif isinstance(inner, ast.Name) and inner.id in expressions and inner.id not in seen:
                seen.add(inner.id)
                waiting.append(expressions[inner.id])
    return found


def computed(source):
    """The expressions, by name, that are no literals; those inside functions do not count."""
    found, waiting = {}, list(ast.parse(source).body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            try:
                ast.literal_eval(node.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                found.update({target.id: node.value for target in targets if isinstance(target, ast.Name)})
        waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))
    return found


def execute():
    """The path of the configuration, its text and its names."""
    if location.startswith("python:"):
        module = importlib.import_module(location.removeprefix("python:"))
        path = module.__file__
        with open(path, "rb") as file:
            return None, file.read(), vars(module)
    path = os.path.abspath(location.removeprefix("file:"))
    with open(path, "rb") as file:
        source = file.read()
    module = types.ModuleType("__config__")
    module.__file__ = path
    sys.modules["__config__"] = module
    exec(compile(source, path, "exec"), vars(module))
    return path, source, vars(module)


def failure(error):
    file = line = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != "<string>":
            file, line = frame.f_code.co_filename, number
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    return {"message": text[:SHOWN_MAX], "file": file, "line": line}


try:
    path, source, names = execute()
    expressions = computed(source)
    settings = {}
    ignored = []
    for name, value in list(names.items()):
        if name in known:
            settings[name] = described(value, path)
            expression = expressions.get(name)
            shown = expression and " ".join(ast.unparse(expression).split())[:SHOWN_MAX]
            settings[name]["computed"] = shown
            settings[name]["has_port"] = expression is not None and "PORT" in texts(expression, expressions)
        elif not name.startswith("_") and not callable(value) and not isinstance(value, types.ModuleType):
            ignored.append(name)
    told = {"settings": settings, "ignored": ignored[:100]}
except BaseException as error:
    told = {"failure": failure(error)}
json.dump(told, report)
report.close()
# Threads that the configuration may have started are not waited for.
os._exit(0)
