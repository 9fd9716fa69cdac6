package python

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// What is imported late is there for who asks for it, and what imported it in case has the real thing then. server is host, port and
// a file with its certificate.
const lateCode = `
import sys, millrace_late as late
late.hold()
import millrace_job, asyncio, shutil, uuid
late.release()
LATE = ("ssl", "_ssl", "bz2", "lzma", "_uuid")
early = [m for m in LATE if m in sys.modules]
assert not early, early
host, port, certificate, way = sys.argv[3:]

async def plain():
    done = asyncio.get_running_loop().create_future()
    async def answer(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        done.set_result(None)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"x\n")
    assert await reader.read() == b"x\n"
    await done
    writer.close()
    server.close()

async def secure(context):
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.endswith(b"hello" * 100000), answer[:200]

if way == "plain":
    asyncio.run(plain())
    assert "ssl" not in sys.modules
elif way == "refused":
    try:
        asyncio.run(secure(True))  # whose certificate nobody vouches for
        raise SystemExit("it was trusted")
    except OSError as error:
        import ssl
        assert isinstance(error, ssl.SSLCertVerificationError), error
elif way == "secure":
    import ssl
    asyncio.run(secure(ssl.create_default_context(cafile=certificate)))
    assert asyncio.base_events.ssl is ssl is asyncio.sslproto.ssl is asyncio.selector_events.ssl
    assert asyncio.sslproto.SSLAgainErrors == (ssl.SSLWantReadError, ssl.SSLSyscallError)
elif way == "archives":
    import bz2, lzma, os, tempfile
    assert bz2.decompress(bz2.compress(b"x")) == lzma.decompress(lzma.compress(b"x")) == b"x"
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(d + "/in")
        for kind in ("bztar", "xztar", "gztar", "zip"):
            shutil.unpack_archive(shutil.make_archive(d + "/" + kind, kind, d + "/in"), d + "/out")
elif way == "uuid":
    import _uuid
    del sys.modules["_uuid"]
    first, second = uuid.uuid1(), uuid.uuid1()
    assert first.version == 1 and first != second and 0 < second.time - first.time < 10**7, (first, second)
    if _uuid.has_uuid_generate_time_safe:
        assert uuid._generate_time_safe is _uuid.generate_time_safe or uuid._generate_time_safe.__module__ == "_uuid"
        assert first.is_safe is not None
    assert uuid.getnode() > 0 and uuid.uuid4().version == 4
print("ok")
`

func TestLateModules(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 100000 {
			_, _ = w.Write([]byte("hello"))
		}
	}))
	t.Cleanup(server.Close)
	server.TLS.MinVersion = tls.VersionTLS12
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	certificate := filepath.Join(t.TempDir(), "server.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(certificate, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"plain", "refused", "secure", "archives", "uuid"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			if got := run(t, lateCode, host, port, certificate, way); got != "ok" {
				t.Error(got)
			}
		})
	}
}
