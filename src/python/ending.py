# What the end of a worker or a generation waits for, as the end of any Python program does: threads and processes of
# the app's. Runs in the engine, with `say(level, text)`, which writes to the error log.
import sys
import threading
import time

# How long they are waited for before anybody is told, in seconds: pools need a moment.
PATIENCE = 1.0


def watch(say):
    """All is done, and the process ends."""
    if remaining():
        threading.Thread(target=tell, args=(say,), name="rgunicorn-end", daemon=True).start()


def tell(say):
    time.sleep(PATIENCE)
    left = remaining()
    if left:
        say("warning", f"is done and waits for what the app still runs: {', '.join(left)}; if that lasts, it is killed")


def remaining():
    """Daemons are not waited for."""
    threads = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    processes = [process for process in children() if not process.daemon]
    return [f"thread {thread.name}" for thread in threads] + [f"process {process.pid} ({process.name})" for process in processes]


def children():
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing.active_children() if multiprocessing else []
