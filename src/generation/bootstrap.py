# All that runs before the engine does: load it from its path, and let it serve on the descriptor given.
import sys
sys.path[:] = [entry for entry in sys.path if entry]
from importlib import machinery, util
spec = util.spec_from_file_location("_rgunicorn", sys.argv[1], loader=machinery.ExtensionFileLoader("_rgunicorn", sys.argv[1]))
engine = sys.modules["_rgunicorn"] = util.module_from_spec(spec)
spec.loader.exec_module(engine)
descriptor, sys.argv[:] = int(sys.argv[2]), ["rgunicorn"]
del machinery, util, spec
sys.exit(engine.serve(descriptor))
