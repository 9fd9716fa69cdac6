// The job's own part of a request: decoded, and carried out, by the child, so that the forker itself never looks at it.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// place_descriptors moves what was received to the numbers a job expects and closes everything else.
void place_descriptors(struct job *j) {
	for (int i = 0; i < FD_END; i++) {
		if (j->fd[i] < 0) continue;
		int fd = fcntl(j->fd[i], F_DUPFD_CLOEXEC, 64); // first out of the way of each other
		if (fd < 0) fail("dup", "", errno);
		j->fd[i] = fd;
		if (i == FD_REPORT) report_fd = fd;
	}
	for (int i = 0; i < FD_END; i++) {
		if (j->fd[i] < 0) {
			close(i);
			continue;
		}
		if (dup3(j->fd[i], i, i > FD_JOB ? O_CLOEXEC : 0) < 0) fail("dup", "", errno);
	}
	report_fd = FD_REPORT;
	if (syscall(SYS_close_range, FD_END, UINT_MAX, 0)) fail("close_range", "", errno);
}

struct cursor {
	char *at, *end;
};

static uint32_t number(struct cursor *c) {
	uint32_t v;
	if (c->end - c->at < (ptrdiff_t)sizeof v) fail("read request", "", EBADMSG);
	memcpy(&v, c->at, sizeof v);
	c->at += sizeof v;
	return v;
}

// bytes returns a counted run of n bytes; a zero byte, not counted, follows each.
static char *bytes(struct cursor *c, uint32_t *n) {
	*n = number(c);
	if (*n >= MAX_BODY || c->end - c->at < (ptrdiff_t)*n + 1 || c->at[*n]) fail("read request", "", EBADMSG);
	char *s = c->at;
	c->at += *n + 1;
	return s;
}

static char *string(struct cursor *c) {
	uint32_t n;
	char *s = bytes(c, &n);
	if (strlen(s) != n) fail("read request", "", EBADMSG);
	return s;
}

static char **strings(struct cursor *c, uint32_t *n) {
	*n = number(c);
	if (*n > (c->end - c->at) / 5) fail("read request", "", EBADMSG); // a string takes at least five bytes
	char **list = calloc(*n + 1, sizeof *list);
	if (!list) fail("read request", "", ENOMEM);
	for (uint32_t i = 0; i < *n; i++) list[i] = string(c);
	return list;
}

static void read_payload(struct job *j) {
	struct stat st;
	if (fstat(FD_PAYLOAD, &st)) fail("read request", "", errno);
	if (st.st_size < j->rq.body_len) fail("read request", "", EBADMSG);
	j->body = mmap(NULL, j->rq.body_len, PROT_READ | PROT_WRITE, MAP_PRIVATE, FD_PAYLOAD, 0);
	if (j->body == MAP_FAILED) fail("read request", "", errno);
	close(FD_PAYLOAD);
}

// unpack decodes the body: argv, environment, files, name of the file to collect.
void unpack(struct job *j) {
	if (j->rq.flags & F_PAYLOAD) read_payload(j);
	struct cursor c = {j->body, j->body + j->rq.body_len};
	j->argv = strings(&c, &j->argc);
	j->env = strings(&c, &j->envc);
	j->filec = number(&c);
	j->files = c.at;
	for (uint32_t i = 0, n; i < j->filec; i++) {
		number(&c);
		string(&c);
		bytes(&c, &n);
	}
	j->collect = string(&c);
	if (c.at != c.end) fail("read request", "", EBADMSG);
}

// local says whether name stays inside the work folder.
static int local(const char *name) {
	if (!*name || *name == '/') return 0;
	for (const char *p = name; p; p = strchr(p, '/')) {
		if (*p == '/') p++;
		if (!strncmp(p, "..", 2) && (!p[2] || p[2] == '/')) return 0;
	}
	return 1;
}

static void write_file(char *name, const char *data, uint32_t n, mode_t mode) {
	if (!local(name)) fail("write", name, EINVAL);
	for (char *p = strchr(name, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(name, 0755) && errno != EEXIST) fail("mkdir", name, errno);
		*p = '/';
	}
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) fail("write", name, errno);
	for (uint32_t done = 0; done < n;) {
		ssize_t k = write(fd, data + done, n - done);
		if (k < 0) fail("write", name, errno);
		done += k;
	}
	if (fchmod(fd, mode & 0777)) fail("chmod", name, errno);
	close(fd);
}

// write_files runs as the job's uid, in the empty work folder.
void write_files(struct job *j) {
	struct cursor c = {j->files, j->body + j->rq.body_len};
	for (uint32_t i = 0, n; i < j->filec; i++) {
		uint32_t mode = number(&c);
		char *name = string(&c);
		char *data = bytes(&c, &n);
		write_file(name, data, n, mode);
	}
}

static _Noreturn void exec_program(struct job *j) {
	// An embedding interpreter ignores these; programs expect the defaults.
	static const int normal[] = {SIGPIPE, SIGXFSZ, SIGINT, SIGCHLD};
	for (size_t i = 0; i < sizeof normal / sizeof *normal; i++) signal(normal[i], SIG_DFL);
	if (j->rq.flags & F_EXEC)
		syscall(SYS_execveat, FD_EXEC, "", j->argv, j->env, AT_EMPTY_PATH);
	else
		execve(j->argv[0], j->argv, j->env);
	fail("exec", j->argv[0], errno);
}

// collect sends how the program ended, and behind that a byte 1 and the file's bytes if there is such a regular file. The server
// need not wait until the kernel has taken this process and its namespaces apart.
static void collect(const char *name, int status) {
	int fd = local(name) ? open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
	struct stat st;
	int there = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode);
	if (there && st.st_size > MAX_COLLECT) fail("collect", name, EFBIG); // exits 127: the program's result is lost
	static char buf[64 << 10];
	memcpy(buf, &status, sizeof status);
	buf[sizeof status] = 1;
	ssize_t n = sizeof status + there, left = there ? st.st_size : 0;
	if (left && left < (ssize_t)sizeof buf - n) { // the usual case: all at once
		ssize_t k = read(fd, buf + n, left);
		if (k > 0) n += k, left -= k;
	}
	while (n > 0) {
		for (ssize_t done = 0, k; done < n; done += k) {
			k = write(FD_COLLECT, buf + done, n - done);
			if (k < 0) return; // nobody wants it any more
		}
		n = left ? read(fd, buf, left < (ssize_t)sizeof buf ? left : (ssize_t)sizeof buf) : 0;
		left -= n;
	}
}

// run_init is PID 1 of a job with Spec.Init: it runs the program as its child. The kernel delivers no signal to it that the
// program could send, and it does not share the program's memory or descriptors.
static _Noreturn void run_init(struct job *j) {
	pid_t program = clone_process(0);
	if (program < 0) fail("fork", "", errno);
	if (!program) exec_program(j);
	for (int fd = FD_NULL; fd <= FD_JOB; fd++) close(fd);
	close(FD_EXEC);
	int status;
	for (;;) {
		pid_t pid = wait(&status);
		if (pid == program) break;
		if (pid < 0 && errno != EINTR) fail("wait", "", errno);
	}
	kill(-1, SIGKILL);
	for (int ignored; wait(&ignored) > 0 || errno == EINTR;) {
	}
	char text[5] = "S";
	memcpy(text + 1, &status, 4);
	ssize_t ignored = write(FD_REPORT, text, sizeof text);
	(void)ignored;
	if (j->rq.flags & F_COLLECT) collect(j->collect, status);
	_exit(0);
}

_Noreturn void launch(struct job *j) {
	if (!j->argc) fail("exec", "", ENOENT);
	if (j->rq.flags & F_INIT) run_init(j);
	exec_program(j);
}
