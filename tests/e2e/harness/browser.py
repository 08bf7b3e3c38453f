"""Drives a headless Chromium for the tests: one JSON command on each line of standard input, one JSON answer on each line of
standard output. Standard library alone.

    browser.py CHROMIUM PROFILE URL

Commands: {"evaluate": "expression"} and {"screenshot": "file.png", "width": 1280, "height": 900, "dark": false}.
"""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0", "about:blank",
]
PATIENCE = 60


class Page:
    """The DevTools protocol over a WebSocket of RFC 6455, as far as one page takes it."""

    def __init__(self, port, path):
        self.number = 0
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")
        assert b" 101 " in self.stream.readline()
        while self.stream.readline().strip():
            pass

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        head = bytes([0x81, 0xFF]) + len(data).to_bytes(8, "big") + mask
        self.socket.sendall(head + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))

    def message(self):
        parts = []
        while True:
            first, length = self.stream.read(2)
            if length == 126:
                length = int.from_bytes(self.stream.read(2), "big")
            elif length == 127:
                length = int.from_bytes(self.stream.read(8), "big")
            parts.append(self.stream.read(length))
            if first & 0x80:
                return json.loads(b"".join(parts))

    def call(self, method, **parameters):
        self.number += 1
        self.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = self.message()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, file, width, height, dark):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        # The plots are drawn for the new width with the next answer.
        self.evaluate("new Promise((done) => setTimeout(done, 2500))")
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        with open(file, "wb") as output:
            output.write(base64.b64decode(picture["data"]))
        return self.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")


def give_up(*_):
    raise TimeoutError("the browser does not show the page")


def main():
    chromium, profile, url = sys.argv[1:]
    # A browser that never says where it listens, or never shows the page.
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    command = [chromium, f"--user-data-dir={profile}", *OPTIONS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as browser:
        try:
            found = (re.search(r"ws://127\.0\.0\.1:(\d+)/", line) for line in browser.stderr)
            port = int(next(match for match in found if match).group(1))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            page = Page(port, "/" + pages[0]["webSocketDebuggerUrl"].split("/", 3)[3])
            # It shows an error in the place of the page where a network interface came or went meanwhile, as those of other tests do.
            while "errorText" in page.call("Page.navigate", url=url):
                time.sleep(0.05)
            while not page.evaluate("location.href !== 'about:blank' && document.readyState === 'complete'"):
                time.sleep(0.05)
            signal.alarm(0)
            for line in sys.stdin:
                order = json.loads(line)
                if "evaluate" in order:
                    answer = page.evaluate(order["evaluate"])
                else:
                    answer = page.screenshot(order["screenshot"], order["width"], order["height"], order["dark"])
                print(json.dumps(answer), flush=True)
        finally:
            browser.kill()


main()
