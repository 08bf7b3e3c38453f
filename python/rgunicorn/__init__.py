"""rgunicorn: the Python web server that one TOML file drives. The server is the program `rgunicorn`; this package
carries its engine."""

__version__ = "0.1.0"
