"""Arguments in, results out: JSON to what main's annotations ask for, and what main returns to JSON."""
import base64
import collections.abc
import dataclasses
import datetime
import enum
import inspect
import json
import math
import os
import sys
import types
import typing


class ArgumentError(Exception):
    """An argument that does not fit main."""


class ResultError(Exception):
    """A result that is not JSON."""


# --- arguments -------------------------------------------------------------------------------------------------------

_empty = inspect.Parameter.empty
# Values of these annotations are taken as JSON made them; the common case needs no look at anything else.
_plain = {_empty, str, int, float, bool, dict, list, object, typing.Any, None, type(None)}
_unions = {typing.Union, getattr(types, "UnionType", typing.Union)}


_POSITIONAL_ONLY, _BOTH, _NAMED_ONLY = range(3)


def _parameters(function):
    """Returns [(name, kind, default, annotation)] and whether there is a **rest. inspect.signature takes ten times as long, which
    is why it is asked only about what is no plain function."""
    if type(function) is types.FunctionType and "__wrapped__" not in function.__dict__:
        code, notes = function.__code__, function.__annotations__
        count, names = code.co_argcount, code.co_varnames
        defaults, named = function.__defaults__ or (), function.__kwdefaults__ or {}
        out = []
        for i in range(count):
            default = defaults[i - count] if i >= count - len(defaults) else _empty
            kind = _POSITIONAL_ONLY if i < code.co_posonlyargcount else _BOTH
            out.append((names[i], kind, default, notes.get(names[i], _empty)))
        for name in names[count : count + code.co_kwonlyargcount]:
            out.append((name, _NAMED_ONLY, named.get(name, _empty), notes.get(name, _empty)))
        return out, bool(code.co_flags & inspect.CO_VARKEYWORDS)
    kinds = {inspect.Parameter.POSITIONAL_ONLY: _POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY: _NAMED_ONLY}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    out = [(p.name, kinds.get(p.kind, _BOTH), p.default, p.annotation) for p in parameters if p.kind not in variadic]
    return out, any(p.kind is p.VAR_KEYWORD for p in parameters)


def plan(function):
    """What bind finds out about a function, for those that are called often; None: that may be another thing next time."""
    if type(function) is not types.FunctionType or "__wrapped__" in function.__dict__:
        return None
    parameters, rest = _parameters(function)
    return (parameters, rest) if all(isinstance(annotation, type) for _, _, _, annotation in parameters) else None


def bind(function, args, known=None):
    """Returns the positional and the named arguments for function, out of a dict by name. known is its plan."""
    if not isinstance(args, dict):
        raise ArgumentError("arguments: want a JSON object")
    if known is not None:
        (parameters, rest), hints = known, {}
    else:
        try:
            parameters, rest = _parameters(function)
        except (TypeError, ValueError):
            return [], dict(args)  # something callable that does not tell
        hints = _hints(function, parameters)
    positional, named, missing = [], {}, []
    by_name = False  # after an omitted parameter the others go by name
    for name, kind, default, annotation in parameters:
        want = hints.get(name, annotation)
        if name in args and not (args[name] is None and default is not _empty):
            value = convert(args[name], want, name)
        elif default is not _empty:
            if kind is not _POSITIONAL_ONLY:
                by_name = True
                continue
            value = default
        elif _optional(want):
            value = None
        else:
            missing.append(name)
            continue
        if kind is _NAMED_ONLY or (by_name and kind is _BOTH):
            named[name] = value
        else:
            positional.append(value)
    if missing:
        name = getattr(function, "__name__", "main")
        quoted = ", ".join(repr(m) for m in missing)
        raise ArgumentError("%s() is missing the required argument%s %s" % (name, "s" if len(missing) > 1 else "", quoted))
    if rest:
        known = {p[0] for p in parameters}
        named.update((k, v) for k, v in args.items() if k not in known)
    return positional, named


def _hints(function, parameters):
    """Annotations with forward references resolved where they can be."""
    for _, _, _, annotation in parameters:
        if isinstance(annotation, str) or not isinstance(annotation, type) and typing.get_args(annotation):
            return _type_hints(inspect.unwrap(function))
    return {}


def _type_hints(thing):
    try:
        return typing.get_type_hints(thing)
    except Exception:  # an annotation that names nothing: the script may live with it, so do we
        return {}


def _optional(want):
    return not isinstance(want, type) and typing.get_origin(want) in _unions and type(None) in typing.get_args(want)


def convert(value, want, where):
    """Makes of a JSON value what the annotation want asks for; a value that needs nothing is returned as it is."""
    try:
        if want in _plain:
            return value
    except TypeError:  # unhashable
        return value
    if value is None:
        return value
    origin = typing.get_origin(want)
    if origin is not None:
        return _convert_generic(value, origin, typing.get_args(want), where)
    if isinstance(want, type):
        return _convert_class(value, want, where)
    return value


def _convert_generic(value, origin, inner, where):
    if origin in _unions:
        return _convert_union(value, [t for t in inner if t is not type(None)], where)
    if hasattr(typing, "Annotated") and origin is typing.Annotated:
        return convert(value, inner[0], where)
    if isinstance(value, list) and isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        if origin is tuple and inner and inner[-1] is not Ellipsis:
            out = [convert(v, inner[min(i, len(inner) - 1)], "%s[%d]" % (where, i)) for i, v in enumerate(value)]
        else:
            out = [convert(v, inner[0], "%s[%d]" % (where, i)) for i, v in enumerate(value)] if inner else value
        return origin(out) if origin in (set, frozenset, tuple, collections.deque) else out
    if isinstance(value, dict) and isinstance(origin, type) and issubclass(origin, collections.abc.Mapping) and len(inner) > 1:
        return {k: convert(v, inner[1], "%s.%s" % (where, k)) for k, v in value.items()}
    return value


def _convert_union(value, kinds, where):
    if len(kinds) == 1:
        return convert(value, kinds[0], where)
    if type(value) in kinds:
        return value
    for kind in kinds:
        try:
            return convert(value, kind, where)
        except Exception:
            continue
    return value


def _convert_class(value, want, where):
    try:
        if want is bytes or want is bytearray:
            return want(_from_base64(value))
        if issubclass(want, (datetime.date, datetime.time)):
            return _from_iso(value, want)
        if issubclass(want, enum.Enum):
            return _to_enum(value, want)
        if want in (set, frozenset, tuple) and isinstance(value, list):
            return want(value)
        if isinstance(value, dict):
            return _to_record(value, want, where)
        if want.__module__ in ("uuid", "decimal", "pathlib") and isinstance(value, (str, int, float)):
            return want(str(value))
    except ArgumentError:
        raise
    except Exception as e:
        raise ArgumentError("%s: want %s: %s" % (where, want.__name__, e)) from None
    return value


def _from_base64(value):
    if not isinstance(value, str):
        raise ValueError("got %s, not base64 text" % type(value).__name__)
    if value.startswith("data:"):
        value = value.partition(",")[2]
    return base64.b64decode(value, validate=True)


def _from_iso(value, want):
    if not isinstance(value, str):
        raise ValueError("got %s, not text in ISO 8601" % type(value).__name__)
    if sys.version_info < (3, 11) and value.endswith("Z"):
        value = value[:-1] + "+00:00"
    if want is datetime.date and len(value) > 10:
        return datetime.datetime.fromisoformat(value).date()
    return want.fromisoformat(value)


def _to_enum(value, want):
    try:
        return want(value)
    except ValueError:
        if isinstance(value, str) and value in want.__members__:
            return want[value]
        raise ValueError("%r is none of %s" % (value, ", ".join(repr(m.value) for m in want))) from None


def _to_record(value, want, where):
    if hasattr(want, "model_validate"):  # pydantic 2
        return want.model_validate(value)
    if hasattr(want, "parse_obj"):  # pydantic 1
        return want.parse_obj(value)
    if dataclasses.is_dataclass(want):
        hints = _type_hints(want)
        names = {f.name for f in dataclasses.fields(want) if f.init}
        fields = {k: convert(v, hints.get(k, _empty), "%s.%s" % (where, k)) for k, v in value.items() if k in names}
        return want(**fields)
    if getattr(want, "__total__", None) is not None:  # TypedDict
        hints = _type_hints(want)
        return {k: convert(v, hints.get(k, _empty), "%s.%s" % (where, k)) for k, v in value.items()}
    return value


# --- results ---------------------------------------------------------------------------------------------------------

_not_plain = object()


def _simplify(o):
    """One step from a Python value towards JSON, or _not_plain."""
    if isinstance(o, (datetime.date, datetime.time)):
        return o.isoformat()
    if isinstance(o, (bytes, bytearray, memoryview)):
        return base64.b64encode(o).decode()
    if isinstance(o, enum.Enum):
        return o.value
    if isinstance(o, (set, frozenset)):
        try:
            return sorted(o)
        except TypeError:
            return list(o)
    if dataclasses.is_dataclass(o) and not isinstance(o, type):
        return {f.name: getattr(o, f.name) for f in dataclasses.fields(o)}
    if isinstance(o, collections.abc.Mapping):
        return dict(o)
    if isinstance(o, (range, map, filter, zip, collections.deque, collections.abc.ValuesView, collections.abc.Set)):
        return list(o)
    if isinstance(o, datetime.timedelta):
        return o.total_seconds()
    if isinstance(o, os.PathLike):
        return os.fspath(o)
    return _simplify_known(o, type(o))


def _simplify_known(o, kind):
    """Types of modules that need not be loaded, known by what they are called and can do."""
    home = kind.__module__.partition(".")[0]
    if home in ("decimal", "uuid", "fractions", "ipaddress"):
        return str(o)
    if home == "pandas":
        if kind.__name__ == "DataFrame":
            return o.to_dict(orient="records")
        if kind.__name__ in ("NaTType", "NAType"):
            return None
        if hasattr(o, "isoformat"):
            return o.isoformat()
        if hasattr(o, "tolist"):
            return o.tolist()
    if home == "polars" and hasattr(o, "to_dicts"):
        return o.to_dicts()
    if home == "polars" and hasattr(o, "to_list"):
        return o.to_list()
    if home == "numpy":
        if kind.__name__ == "datetime64":
            return str(o)
        if hasattr(o, "tolist"):
            return o.tolist()
    if not isinstance(o, type):
        for method in ("model_dump", "dict", "_asdict"):
            if callable(getattr(kind, method, None)):
                return getattr(o, method)()
    return _not_plain


def _default(o):
    out = _simplify(o)
    if out is _not_plain:
        raise TypeError
    return out


def _tidy(o, where, above):
    """The slow way: a copy of o with nothing but JSON in it; names the place of what cannot be."""
    if o is None or isinstance(o, (str, bool)) or (isinstance(o, int) and not isinstance(o, enum.Enum)):
        return o
    if isinstance(o, float) and not isinstance(o, enum.Enum):
        return o if math.isfinite(o) else None
    if id(o) in above:
        raise ResultError("%s contains itself" % where)
    above = above | {id(o)}
    if isinstance(o, dict):
        return {_key(k, where): _tidy(v, "%s.%s" % (where, k), above) for k, v in o.items()}
    if isinstance(o, (list, tuple)):
        return [_tidy(v, "%s[%d]" % (where, i), above) for i, v in enumerate(o)]
    out = _simplify(o)
    if out is _not_plain:
        kind = type(o)
        name = kind.__name__ if kind.__module__ == "builtins" else kind.__module__ + "." + kind.__qualname__
        raise ResultError(
            "%s: a value of type %s cannot be made JSON; return dicts, lists, text, numbers, booleans or None" % (where, name)
        )
    return _tidy(out, where, above)


def _key(k, where):
    if isinstance(k, enum.Enum):
        k = k.value
    if k is None or isinstance(k, (str, int, float, bool)):
        return k
    out = _simplify(k)
    if isinstance(out, (str, int, float)):
        return out
    raise ResultError("%s: a key of type %s cannot be made JSON; use text" % (where, type(k).__name__))


def _dumps(value, default=None):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default)


def _encoder():
    """What json.dumps makes anew for each value, which takes longer than most values; None: this Python has no such thing. One that has
    failed is not used again: it remembers what it was in, and would take that for a value that contains itself."""
    try:
        from json.encoder import c_make_encoder, encode_basestring, encode_basestring_ascii

        quote = encode_basestring if _beyond else encode_basestring_ascii
        made = c_make_encoder({}, _default, quote, None, ":", ",", False, False, False)
        want = "\u00e9" if _beyond else "\\u00e9"
        return made if "".join(made({"a": ["\u00e9", 1.5, None]}, 0)) == '{"a":["%s",1.5,null]}' % want else None
    except (ImportError, TypeError):
        return None


# Whether a result had text beyond ASCII, as then the next ones will. To write that as it is takes Python seven times as long as to
# write escapes, also where there is nothing to escape: a megabyte 12 ms.
_beyond = False
_pieces = _encoder()


def _text(value):
    global _beyond, _pieces
    if _pieces is None:
        return _dumps(value, _default)
    text = "".join(_pieces(value, 0))
    if not _beyond and "\\u" in text:
        _beyond = True
        _pieces = _encoder()
        text = _dumps(json.loads(text))  # the value itself may have iterators in it, which have been read
    return text


def encode(value):
    """value as JSON in UTF-8; a ResultError names what cannot be, and where."""
    global _pieces
    try:
        text = _text(value)
    except (TypeError, ValueError, RecursionError):
        _pieces = _encoder()
        try:
            text = _dumps(_tidy(value, "result", frozenset()))
        except RecursionError:
            raise ResultError("the result is nested too deeply") from None
        except (TypeError, ValueError) as e:
            raise ResultError("the result cannot be made JSON: %s" % e) from None
    return text.encode("utf-8", "replace")


_scan = json._default_decoder.scan_once


def decode(data):
    """json.loads for bytes that the server has made: without looking which encoding they have, and for white space around them."""
    try:
        text = data.decode()
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (UnicodeDecodeError, StopIteration):
        pass
    return json.loads(data)
