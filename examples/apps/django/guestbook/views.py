"""The pages of the guest book."""

from django.contrib import messages
from django.forms import ModelForm
from django.http import JsonResponse
from django.shortcuts import redirect, render

from .models import Entry

ENTRIES_SHOWN_MAX = 50


class EntryForm(ModelForm):
    class Meta:
        model = Entry
        fields = ["name", "text"]


def book(request):
    """Shows the latest entries and takes new ones."""
    form = EntryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Thank you for writing.")
        return redirect("book")
    entries = Entry.objects.all()[:ENTRIES_SHOWN_MAX]
    return render(request, "guestbook.html", {"form": form, "entries": entries})


def entries(request):
    """The latest entries for programs."""
    latest = Entry.objects.values("name", "text", "written")[:ENTRIES_SHOWN_MAX]
    return JsonResponse({"entries": list(latest)})
