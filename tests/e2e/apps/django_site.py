"""Django in one file: views of both kinds, a stream, a file."""

import asyncio
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, DEBUG=False)

async def home(request):
    return JsonResponse({"path": request.path, "scheme": request.scheme, "agent": request.headers.get("x-agent")})

def sync(request):
    return HttpResponse(f"sync {len(request.body)}")

async def stream(request):
    async def pieces():
        for number in range(3):
            yield f"{number} "
            await asyncio.sleep(0.01)
    return StreamingHttpResponse(pieces())

def file(request):
    return FileResponse(open(__file__, "rb"))

from django.views.decorators.csrf import csrf_exempt
urlpatterns = [path("", home), path("sync", csrf_exempt(sync)), path("stream", stream), path("file", file)]
app = get_asgi_application()
