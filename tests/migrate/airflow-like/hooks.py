def post_worker_init(worker):
    pass
