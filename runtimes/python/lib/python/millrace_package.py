"""The package wmill, as a job finds it: the names of millrace_workflow, and those of the package itself where it is installed."""
import importlib.machinery
import importlib.util
import sys
import types

import millrace_workflow as workflows


def _lend(module):
    for name in workflows.NAMES:
        if hasattr(workflows, name):
            setattr(module, name, getattr(workflows, name))


class _Own:
    """Loads the package when it is not installed: these names are all it has then."""

    def create_module(self, spec):
        return types.ModuleType("wmill")

    def exec_module(self, module):
        _lend(module)


class _Beside:
    """Loads the installed package, and puts these names in the place of its own."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        _lend(module)
        if "wmill.client" in sys.modules:
            _lend(sys.modules["wmill.client"])


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "wmill":
            return None
        real = importlib.machinery.PathFinder.find_spec(name)
        if real is None or real.loader is None:
            return importlib.util.spec_from_loader("wmill", _Own())
        real.loader = _Beside(real.loader)
        return real


_absent = None  # the package when it is not installed, and where it was looked for


def prepare():
    """Looks for the package, for all jobs that look for it in the same places."""
    global _absent
    if importlib.machinery.PathFinder.find_spec("wmill") is None:
        spec = importlib.util.spec_from_loader("wmill", _Own())
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _absent = module, sys.path[:]


def install():
    """Makes the package's names these, for the script that is about to run."""
    if _absent is not None and _absent[1] == sys.path and "wmill" not in sys.modules:
        sys.modules["wmill"] = _absent[0]
    elif "wmill" in sys.modules:
        for name in ("wmill", "wmill.client"):
            if name in sys.modules:
                _lend(sys.modules[name])
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def uninstall():
    """Undoes install, in a process that goes on with other scripts."""
    sys.modules.pop("wmill", None)
    if _Finder in sys.meta_path:
        sys.meta_path.remove(_Finder)
    workflows._tasks.clear()
