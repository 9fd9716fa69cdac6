// probe: what the suites run inside. As an attack,
//
//	probe all        every probe, each in a process and a folder of its own
//	probe NAME...    those probes
//	probe leave      leaves behind whatever can be left
//	probe find       looks for what another process has left
//	probe bombs      takes more of everything than there should be
//
// it prints a line "NAME CODE TEXT" each: 0 it worked, 1 it was refused (TEXT is errno's), 2 the probe itself ended badly. What
// it aims at is in its environment, PROBE_*. The helpers at the end are for the conformance suite.
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char zeros[256];
int control, extra_descriptors;

const char *aim(const char *name) {
	const char *v = getenv(name);
	return v ? v : "";
}

int refused(int err) {
	errno = err;
	return -1;
}

int can_open(const char *path, int flags) {
	int fd = open(path, flags, 0600);
	if (fd >= 0) close(fd);
	return fd;
}

int not_refused(long result) { return result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EROFS) ? -1 : 0; }

int file_has(const char *path, const char *text) {
	static char buf[1 << 20];
	int fd = open(path, O_RDONLY);
	if (fd < 0) return -1;
	size_t n = 0;
	for (ssize_t k; n < sizeof buf && (k = read(fd, buf + n, sizeof buf - n)) > 0;) n += k;
	close(fd);
	return *text && memmem(buf, n, text, strlen(text)) ? 0 : refused(ENOENT);
}

// status reads a number from /proc/PID/status; 0 when it cannot.
static pid_t status(pid_t pid, const char *key) {
	char path[64], line[128];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *f = fopen(path, "r");
	pid_t value = 0;
	while (f && fgets(line, sizeof line, f)) {
		if (!strncmp(line, key, strlen(key))) value = atoi(line + strlen(key));
	}
	if (f) fclose(f);
	return value;
}

int is_kin(pid_t pid) {
	static pid_t kin[64];
	static int n;
	if (!n || kin[0] != getpid()) {
		n = 0;
		for (pid_t at = getpid(); at > 0 && n < 64; at = status(at, "PPid:")) kin[n++] = at;
	}
	pid_t leader = status(pid, "Tgid:"); // threads answer to their own numbers too
	for (int i = 0; i < n; i++) {
		if (kin[i] == pid || kin[i] == leader) return 1;
	}
	return 0;
}

static const struct probe *const probes[] = {kernel_probes, power_probes, file_probes, other_probes, socket_probes, trick_probes};
enum { GROUPS = sizeof probes / sizeof *probes };

// alone keeps what a probe does without walls from changing the host: mounts above all. Where it cannot, nothing may be tried.
static void alone(void) {
	if (!unshare(CLONE_NEWNS | CLONE_NEWUTS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return;
	if (!geteuid()) _exit(3); // nobody else could do harm
}

// attempt runs one probe in a child. One that is a bomb may be ended by the kernel, which refuses it so.
static void attempt(const struct probe *p, int bomb) {
	int result[2], status;
	fflush(stdout);
	if (pipe2(result, O_CLOEXEC)) exit(3);
	pid_t pid = fork();
	if (pid < 0) exit(3);
	if (!pid) {
		if (mkdir(p->name, 0700) || chdir(p->name)) _exit(3);
		alarm(bomb ? 120 : 30);
		if (control) alone(); // of the other probes too
		errno = 0;
		int r = p->run(), answer[2] = {r < 0, errno};
		_exit(write(result[1], answer, sizeof answer) == sizeof answer ? 0 : 3);
	}
	close(result[1]);
	int answer[2] = {2, 0};
	ssize_t n = read(result[0], answer, sizeof answer);
	close(result[0]);
	waitpid(pid, &status, 0);
	if (n != sizeof answer) {
		if (bomb && WIFSIGNALED(status)) {
			printf("%s 1 ended by signal %d\n", p->name, WTERMSIG(status));
			return;
		}
		// The kernel's answer to a call of a foreign ABI may be the end of the process: that is a refusal.
		int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
		printf("%s %d ended with status %#x\n", p->name, killed ? 1 : 2, status);
		return;
	}
	printf("%s %d %s\n", p->name, answer[0], answer[0] ? strerror(answer[1]) : "worked");
}

static int attack(int n, char **names) {
	for (int g = 0; g < GROUPS; g++) {
		for (const struct probe *p = probes[g]; p->name; p++) {
			for (int i = 0; i < n; i++) {
				if (!strcmp(names[i], "all") || !strcmp(names[i], p->name)) attempt(p, 0);
			}
		}
	}
	return 0;
}

// explode tries one bomb after the other; what one has left would be in the way of the next.
static int explode(void) {
	for (const struct probe *p = bombs; p->name; p++) {
		attempt(p, 1);
		DIR *d = opendir(p->name);
		for (struct dirent *e; d && (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
		if (d) closedir(d);
	}
	return 0;
}

static int leave_all(void) {
	for (const struct leftover *l = leftovers; l->name; l++) {
		errno = 0;
		int r = l->leave();
		printf("%s %d %s\n", l->name, r < 0, r < 0 ? strerror(errno) : "left");
	}
	return 0;
}

static int find_all(void) {
	for (const struct leftover *l = leftovers; l->name; l++) {
		errno = 0;
		int r = l->find();
		printf("%s %d %s\n", l->name, r < 0, r < 0 ? strerror(errno) : "found");
	}
	return 0;
}

// allocate touches n megabytes.
static int allocate(long n) {
	for (long i = 0; i < n; i++) {
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) return 3;
		memset(p, 1, 1 << 20);
	}
	return 0;
}

// forks starts up to n children that wait, and prints how many could be started.
static int forks(long n) {
	int p[2], made = 0;
	if (pipe(p)) return 3;
	for (; made < n; made++) {
		pid_t pid = fork();
		if (pid < 0) break;
		if (!pid) {
			close(p[1]);
			ssize_t ignored = read(p[0], zeros, 1);
			(void)ignored;
			_exit(0);
		}
	}
	printf("%d\n", made);
	return 0;
}

// echo returns what comes in on descriptor 3 until the other side is done.
static int echo(void) {
	char buf[4096];
	for (ssize_t n; (n = read(3, buf, sizeof buf)) > 0;) {
		if (write(3, buf, n) != n) return 3;
	}
	return 0;
}

// daemon_child leaves a process behind in a session of its own, with the given name.
static int daemon_child(const char *self, const char *name) {
	int ready[2];
	char byte = 0;
	if (pipe(ready)) return 3;
	if (!fork()) {
		setsid();
		if (!fork()) {
			for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
			prctl(PR_SET_NAME, name);
			if (write(ready[1], &byte, 1) != 1) _exit(3);
			for (;;) pause();
		}
		_exit(0);
	}
	if (read(ready[0], &byte, 1) != 1) return 3;
	printf("%s\n", self);
	fflush(stdout);
	return echo(); // ends when the caller has looked
}

int main(int argc, char **argv, char **env) {
	if (argc < 2) return 2;
	const char *what = argv[1];
	long n = argc > 2 ? atol(argv[2]) : 0;
	control = *aim("PROBE_CONTROL") != 0;
	if (control) {
		alone();
		fcntl(1, F_DUPFD, 20);
	}
	for (int fd = 4; fd < 4096; fd++) extra_descriptors += fcntl(fd, F_GETFD) >= 0;
	if (!strcmp(what, "allocate")) return allocate(n);
	if (!strcmp(what, "forks")) return forks(n);
	if (!strcmp(what, "echo")) return echo();
	if (!strcmp(what, "exit")) return n;
	if (!strcmp(what, "daemon")) return daemon_child(argv[0], argv[2]);
	if (!strcmp(what, "signal")) return raise(n) ? 3 : 4;
	if (!strcmp(what, "victim")) return victim(argv[2]);
	if (!strcmp(what, "leave")) return leave_all();
	if (!strcmp(what, "find")) return find_all();
	if (!strcmp(what, "bombs")) return explode();
	if (!strcmp(what, "show")) {
		for (int i = 0; i < argc; i++) printf("arg %s\n", argv[i]);
		for (; *env; env++) printf("env %s\n", *env);
		return 0;
	}
	return attack(argc - 1, argv + 1);
}
