"""Which modules a run imports, so that they can be imported ahead of the next ones."""
import json
import os
import sys
import time

import millrace_environ as variables


class Watch:
    """Stands first among those who find modules and finds none; it sees what is asked for, and by whom."""

    def __init__(self, environment):
        self.asked, self.seconds, self.start, self.last = [], 0.0, None, 0.0
        self.variables = {**os.environ, **{os.fsdecode(k): os.fsdecode(v) for k, v in variables.pairs(environment or b"")}}
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name.startswith("millrace_"):
            return None  # one of ours, that only some jobs need
        self.last = time.perf_counter()
        frame = sys._getframe(1)
        while frame is not None:
            of = frame.f_globals.get("__name__")
            if of == "millrace_job":
                break  # the script asks, not a module that is being imported
            if of != "main" and frame.f_code.co_name == "<module>":
                return None
            frame = frame.f_back
        self._count()
        self.start = self.last
        self.asked.append(name)
        return None

    def _count(self):
        """Adds the time from when the script asked until a module in turn last asked for another."""
        if self.start is not None:
            self.seconds += max(0.0, self.last - self.start)
        self.start = None

    def stop(self):
        """Returns the JSON of what was seen. A script that has changed its environment may have done so for a module to read; then
        nothing is said."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self.last = max(self.last, self.start or 0)
        self._count()
        modules = [name for name in dict.fromkeys(self.asked) if name in sys.modules]
        if dict(os.environ) != self.variables:
            modules = []
        return json.dumps({"modules": modules, "ms": round(self.seconds * 1000, 1)}).encode()
