# A Django site behind nginx on the same machine.
import multiprocessing
import os

wsgi_app = "mysite.wsgi:application"
bind = "127.0.0.1:8000"
workers = multiprocessing.cpu_count() * 2 + 1
threads = 2
timeout = 120
keepalive = 5
max_requests = 1000
max_requests_jitter = 50
preload_app = True
accesslog = "-"
errorlog = "-"
loglevel = os.environ.get("SITE_LOG_LEVEL", "warning")
proc_name = "mysite"
worker_tmp_dir = "/dev/shm"
raw_env = ["DJANGO_SETTINGS_MODULE=mysite.settings"]
forwarded_allow_ips = "127.0.0.1,10.0.0.0/8"
worker = 3  # a slip that Gunicorn does not notice


def post_fork(server, worker):
    server.log.info("worker %s", worker.pid)
