# The server's signals as Python knows them. Runs in the engine, with what the engine gives it: `own(number, frame)` is the handler that stands
# for the server's, `say(level, text)` writes to the error log.
import signal
import traceback


class Shared:
    """A handler of the app's for a signal of the server's. It is called once the server has heard the signal, and cuts no request: the
    worker leaves in order, whatever is raised."""

    def __init__(self, handler, say):
        self.handler, self.say = handler, say

    def __call__(self, number, frame):
        try:
            self.handler(number, frame)
        except (SystemExit, KeyboardInterrupt):
            pass
        except BaseException:
            self.say("error", f"the app's handler of {signal.Signals(number).name} failed:\n{traceback.format_exc().rstrip()}")


def show(numbers, own):
    """Has `signal.getsignal` tell of a handler that can be called, kept and put back."""
    for number in numbers:
        signal.signal(number, own)


def share(numbers, own, say):
    """Those of the signals that the app handles, too."""
    return [number for number in numbers if is_shared(number, own, say)]


def is_shared(number, own, say):
    handler = signal.getsignal(number)
    if not callable(handler) or handler is own:
        signal.signal(number, own)
        return False
    signal.signal(number, Shared(handler, say))
    return True
