"""A project of the usual weight: Django and Flask in one process, for the memory of preloaded workers."""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from flask import Flask


def index(request):
    return HttpResponse(f"Hello from Django {django.get_version()}")


settings.configure(
    SECRET_KEY="only for the bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
)
urlpatterns = [path("django", index)]
django_app = get_wsgi_application()
flask_app = Flask(__name__)


@flask_app.route("/")
def hello():
    return "Hello from Flask"


def app(environ, start_response):
    chosen = django_app if environ["PATH_INFO"] == "/django" else flask_app
    return chosen(environ, start_response)
