"""What guests leave behind."""

from django.db import models


class Entry(models.Model):
    name = models.CharField(max_length=80)
    text = models.CharField(max_length=400)
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-written"]
