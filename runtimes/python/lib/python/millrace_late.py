"""Modules that the standard library imports in case somebody needs them, and hardly a script does: ssl for asyncio, bz2 and lzma for
shutil, and what uuid asks for time-based numbers. Their libraries are forty mappings and more than a megabyte of the zygote, which
every fork copies and every end of a job takes down. While those that import them are being imported, stand-ins are found in their
place; afterwards the real ones are, and a stand-in that somebody has kept sends for them.
"""
import importlib.util
import sys
import types

# What is known to do no more with these modules, when it is imported, than this file says.
VERSIONS = (3, 9) <= sys.version_info[:2] <= (3, 14)

_standing = {}  # the stand-ins that are found now, by name


class _Nobody:
    """A class of which there is no instance."""


class _Ssl(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if "ssl" in _standing:
            return type(name, (Exception,), {})  # for a tuple of errors that _the_real puts right
        if name == "SSLSocket" and "ssl" not in sys.modules:
            return _Nobody  # asyncio asks of every socket whether it is one
        return getattr(self._the_real(), name)

    def _the_real(self):
        import ssl

        for name, module in list(sys.modules.items()):
            if name.startswith("asyncio.") and getattr(module, "ssl", None) is self:
                module.ssl = ssl
        protocol = sys.modules.get("asyncio.sslproto")
        if hasattr(protocol, "SSLAgainErrors"):
            protocol.SSLAgainErrors = (ssl.SSLWantReadError, ssl.SSLSyscallError)
        return ssl


def _time_safe():
    """What uuid calls for a number made of time and the host's address."""
    import _uuid
    import uuid

    uuid._generate_time_safe = getattr(_uuid, "generate_time_safe", None)
    return uuid._generate_time_safe() if uuid._generate_time_safe else (uuid.uuid1().bytes, None)


def _uuid():
    module = types.ModuleType("_uuid")
    module.generate_time_safe = _time_safe
    module.has_uuid_generate_time_safe = 1
    return module


def hold():
    """Puts the stand-ins in the place of modules that are there to be imported, and are not yet."""
    if not VERSIONS:
        return
    for name, needs, make in (
        ("ssl", "_ssl", lambda: _Ssl("ssl")),
        ("bz2", "_bz2", lambda: types.ModuleType("bz2")),
        ("lzma", "_lzma", lambda: types.ModuleType("lzma")),
        ("_uuid", "_uuid", _uuid),
    ):
        if name == "_uuid" and sys.version_info >= (3, 14):
            continue  # there it tells more than can be said ahead
        if name not in sys.modules and importlib.util.find_spec(needs) is not None:
            _standing[name] = sys.modules[name] = make()


def release():
    """Has the real modules found from now on."""
    while _standing:
        name, module = _standing.popitem()
        if sys.modules.get(name) is module:
            del sys.modules[name]
