workers = 4


def count():
    return 1 / 0


threads = count()
