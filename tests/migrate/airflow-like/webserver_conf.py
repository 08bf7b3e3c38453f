# As a scheduler's web server is set up: names come from its own settings module, hooks refresh the workers' state.
import settings
from hooks import post_worker_init

bind = f"{settings.WEB_HOST}:{settings.WEB_PORT}"
workers = settings.WORKERS
worker_class = "sync"
timeout = settings.WORKER_TIMEOUT
accesslog = settings.ACCESS_LOG
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
pidfile = settings.PID_FILE
logger_class = "airflow_like.logging.Logger"
syslog = True
syslog_prefix = "airflow"
capture_output = True
statsd_host = "localhost:8125"
statsd_prefix = "airflow"


def on_starting(server):
    server.log.info("starting")


def worker_exit(server, worker):
    settings.forget(worker.pid)
