# Where workers are forked: in a module that is not `__main__`. Python 3.12 has a warning for a fork beside threads, such as
# agents of monitoring services start with the interpreter, and shows by default what happens in `__main__`. The server
# tells of such threads itself.


def fork(module):
    return module.fork()
