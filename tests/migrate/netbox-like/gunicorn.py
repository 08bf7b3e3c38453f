# One file of settings and nothing else, as it is copied from a project's contrib directory.

# The IP address (typically localhost) and port that the WSGI process should listen on
bind = "127.0.0.1:8001"

# Number of gunicorn workers to spawn. This should typically be 2n+1, where
# n is the number of CPU cores present.
workers = 5

# Number of threads per worker process
threads = 3

# Timeout (in seconds) for a request to complete
timeout = 120

# The maximum number of requests a worker can handle before being respawned
max_requests = 5000
max_requests_jitter = 500

# Long filters in the address
limit_request_line = 0
limit_request_fields = 32000
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
