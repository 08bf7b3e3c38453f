import os

for _ in range(64):
    os.write(1, b"x" * 65536)
print("and this")
wsgi_app = "app:app"
workers = 2
