import threading

wsgi_app = "app:application"
bind = object()
workers = 5000
threads = "many"
backlog = None
loglevel = "chatty"
worker_class = "mine.Worker"
chdir = 7
raw_env = {"A": 1}
timeout = threading.Lock()
access_log_format = "line one\nline two \x1b[31m %(h)s"
proc_name = 'a"b\nc'
post_fork = lambda server, worker: None
