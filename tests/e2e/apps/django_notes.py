"""Notes in a database: requests that wait while they hold a connection, that write at the same time, and that stream."""

import time

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "data.sqlite3", "OPTIONS": {"timeout": 20}}},
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
)

from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()

from django.db import connection, transaction
from django.views.decorators.csrf import csrf_exempt

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE note (text TEXT)")
connection.close()


def slow(request, name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [name])
        time.sleep(0.2)
        return HttpResponse(f"{cursor.fetchone()[0]} {request.path}")


@csrf_exempt
def add(request):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", [request.body.decode()])
    return HttpResponse(status=204)


def count(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(DISTINCT text) FROM note")
        return HttpResponse(str(cursor.fetchone()[0]))


def stream(request):
    return StreamingHttpResponse(f"{number} " for number in range(3))


urlpatterns = [path("slow/<name>", slow), path("add", add), path("count", count), path("stream", stream)]
