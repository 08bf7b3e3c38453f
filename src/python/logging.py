# Sets up Python's logging from a file, by its ending. Runs in the engine, before the app is imported.
import json
import logging.config


def configure(path):
    if path.endswith((".json", ".toml")):
        settings = read(path)
        # Without it dictConfig refuses the file, and there is one version only.
        settings.setdefault("version", 1)
        # What was made before is the interpreter's, and stays.
        settings.setdefault("disable_existing_loggers", False)
        logging.config.dictConfig(settings)
    else:
        with open(path):
            pass  # fileConfig takes a file that is not there for one without sections
        logging.config.fileConfig(path, disable_existing_loggers=False)


def read(path):
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib
        except ImportError:
            raise RuntimeError("Python 3.10 reads no TOML: install tomli, or write the file in JSON") from None
    with open(path, "rb") as file:
        return tomllib.load(file)
