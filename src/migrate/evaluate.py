# Executes a Gunicorn configuration the way Gunicorn does, and tells on standard output, as one JSON object, what it sets.
# Whatever the configuration itself prints goes to standard error.
import ast
import importlib
import json
import math
import os
import re
import sys
import traceback
import types

location, known = sys.argv[1], frozenset(sys.argv[2].split(","))
report = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.argv = ["gunicorn"]
sys.path[0] = os.getcwd()

if sys.version_info < (3, 9):
    json.dump({"too_old": ".".join(map(str, sys.version_info[:3]))}, report)
    report.close()
    os._exit(0)

SHOWN_MAX = 300  # characters of an expression or a value that is only shown
DEPTH_MAX = 6
INTEGERS = range(-(2**63), 2**64)  # what the reader of the report takes
PROCESSORS = re.compile(r"(\w+\.)?(process_)?cpu_count\(\)|len\((os\.)?sched_getaffinity\(0\)\)")


def plain(value, depth=0):
    """What JSON can say of a value; TypeError where it cannot."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and is_unicode(value):
        return str(value)
    if isinstance(value, int) and int(value) in INTEGERS:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if depth < DEPTH_MAX:
        if isinstance(value, os.PathLike):
            return plain(os.fsdecode(value), depth + 1)
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {plain(str(name), depth + 1): plain(item, depth + 1) for name, item in value.items()}
    raise TypeError


def is_unicode(text):
    """Half a surrogate pair is no text for anybody else."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def shown(text):
    return text[:SHOWN_MAX].encode("utf-8", "backslashreplace").decode()


def described(value, path):
    if isinstance(value, type):
        return {"plain": f"{value.__module__}.{value.__qualname__}"}
    if callable(value):
        code = getattr(value, "__code__", None)
        is_here = getattr(code, "co_filename", None) == path
        return {
            "function": {
                "name": getattr(value, "__qualname__", type(value).__qualname__),
                "module": home(value),
                "line": code.co_firstlineno if code and is_here else None,
            }
        }
    try:
        return {"plain": plain(value)}
    except TypeError:
        return {"other": shown(repr(value))}


def home(value):
    """The module that has a callable under the callable's own name. A configuration that is a file is no module."""
    name = getattr(value, "__module__", None)
    found = None if name == "__config__" else sys.modules.get(name)
    for part in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return name if found is value else None


def assignments(tree):
    """The expressions that names are given, by name, in order; those inside functions do not count."""
    found, waiting = {}, list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler)))
    return found


def is_literal(node):
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def parts(nodes, assigned):
    """All nodes of expressions and of those that their names stand for."""
    waiting, seen = list(nodes), set()
    while waiting:
        for inner in ast.walk(waiting.pop()):
            yield inner
            if isinstance(inner, ast.Name) and inner.id in assigned and inner.id not in seen:
                seen.add(inner.id)
                waiting.extend(assigned[inner.id])


def operands(node, assigned, above=()):
    """What arithmetic computes with. A name that is given one expression stands for that."""
    if isinstance(node, ast.BinOp):
        inner = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        inner = [node.operand]
    elif isinstance(node, ast.BoolOp):
        inner = node.values
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("int", "round"):
        inner = node.args
    elif isinstance(node, ast.Name) and len(assigned.get(node.id, ())) == 1 and node.id not in above:
        inner, above = assigned[node.id], (*above, node.id)
    else:
        yield node
        return
    for part in inner:
        yield from operands(part, assigned, above)


def counts_processors(nodes, assigned):
    """Whether it is arithmetic on the number of processors and on nothing else."""
    if len(nodes) != 1:
        return False
    unknown = [node for node in operands(nodes[0], assigned) if not isinstance(node, ast.Constant)]
    return bool(unknown) and all(PROCESSORS.fullmatch(ast.unparse(node)) for node in unknown)


def provenance(name, value, tree, assigned):
    """What the source tells of the value of a name."""
    nodes = [node for node in assigned.get(name, ()) if not is_literal(node)]
    everything = list(parts(nodes, assigned))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    items = value if isinstance(value, list) else [value]
    return {
        "computed": shown(" ".join(ast.unparse(nodes[-1]).split())) if nodes else None,
        "has_port": any(isinstance(node, ast.Constant) and node.value == "PORT" for node in everything),
        "has_environment": any(
            getattr(node, "id", getattr(node, "attr", None)) in ("environ", "getenv") for node in everything
        ),
        "counts_processors": counts_processors(assigned.get(name, ()), assigned),
        "foreign": [number for number, item in enumerate(items) if isinstance(item, str) and item not in texts],
    }


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
    return {"message": shown(text), "file": file and shown(file), "line": line}


try:
    path, source, names = execute()
    tree = ast.parse(source)
    assigned = assignments(tree)
    settings = {}
    ignored = []
    for name, value in list(names.items()):
        if name in known:
            settings[name] = described(value, path)
            settings[name]["provenance"] = provenance(name, settings[name].get("plain"), tree, assigned)
        elif not name.startswith("_") and not callable(value) and not isinstance(value, types.ModuleType):
            ignored.append(name)
    told = {"settings": settings, "ignored": ignored[:100]}
except BaseException as error:
    told = {"failure": failure(error)}
json.dump(told, report)
report.close()
# Threads that the configuration may have started are not waited for.
os._exit(0)
