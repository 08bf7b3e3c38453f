import subprocess
import threading
import time

subprocess.Popen(["sleep", "60"])
threading.Thread(target=time.sleep, args=(60,)).start()
wsgi_app = "app:app"
