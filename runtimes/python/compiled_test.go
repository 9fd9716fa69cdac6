package python

import "testing"

// TestCompiled: a run says what it compiled before the script can say anything, and another runs that. What is of another interpreter, or
// broken, is compiled anew.
func TestCompiled(t *testing.T) {
	const code = `
import json, millrace_job as job
said = []
job._send = lambda kind, payload: said.append((kind, payload))
def go(source, compiled=None):
    request = {83: source.encode(), 80: b"f/x", 78: b"main", 65: b"{}"}
    if compiled is not None:
        request[66] = compiled
    kind, payload = job._run(request, finish=lambda: None)
    return kind, json.loads(payload)

source = "import millrace_job as job\njob._send('T', b'mine')\ndef main():\n    return [__file__, f'{1 + 1}', {'a': (1, 2.5, None)}]\n"
plain = go(source, b"")
assert [kind for kind, _ in said] == ["B", "T"], said
compiled = said[0][1]
said.clear()
assert go(source, compiled) == plain == go(source), plain
assert [kind for kind, _ in said] == ["T", "T"], said

said.clear()
go("def main(): return 2", b"")
other = said[0][1]
assert go(source, other) == ("R", 2), "the source was compiled again"
for broken in (b"x" + other[1:], other[:-3], other[:4], b"none"):
    said.clear()
    assert go(source, broken) == plain, broken
    assert [kind for kind, _ in said] == ["T"], "it said what nobody asked for"

# A failure shows its lines, whichever way.
said.clear()
failing = "def main():\n    return inner()\n\ndef inner():\n    raise KeyError('no')  # here\n"
first = go(failing, b"")
assert first[0] == "E" and "f/x.py" in first[1]["stack"] and "# here" in first[1]["stack"], first
assert go(failing, said[0][1]) == first

# What is too large is not told, but something is: the next frame may be the script's.
said.clear()
go("def main(): return len(%r)" % ("x" * (2 << 20)), b"")
assert said == [("B", b"")], len(said)
said.clear()
assert go("def main(:", b"")[1]["name"] == "SyntaxError" and not said
print("ok")
`
	if got := run(t, code); got != "ok" {
		t.Error(got)
	}
}
