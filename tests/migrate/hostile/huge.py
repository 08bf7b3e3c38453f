wsgi_app = "app:app"
raw_env = ["A=" + "x" * 3_000_000]
