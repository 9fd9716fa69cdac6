// PID 1 of a slot: sets up what everything in the slot inherits, starts PID 2, and then only reaps.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTROL = 3, EX_SETUP = 70 };

static _Noreturn void die(const char *what) {
	fprintf(stderr, "forker: %s: %s\n", what, strerror(errno));
	_exit(EX_SETUP);
}

static void load_filter(const char *path) {
	static struct sock_filter code[BPF_MAXINSNS];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) die(path);
	ssize_t n = read(fd, code, sizeof code);
	close(fd);
	if (n <= 0 || n % sizeof *code) {
		errno = EINVAL;
		die(path);
	}
	struct sock_fprog program = {n / sizeof *code, code};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) die("load filter");
}

static void spare_from_oom(void) {
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0) return;
	ssize_t ignored = write(fd, "-1000", 5); // needs CAP_SYS_RESOURCE on the host; jobs raise theirs in any case
	(void)ignored;
	close(fd);
}

static void link_shm(void) {
	struct stat st;
	if (!lstat("/dev/shm", &st)) return;
	int ignored = symlink("/work", "/dev/shm"); // /dev may be read-only
	(void)ignored;
}

static void set_up(const char *bpf) {
	syscall(SYS_close_range, CONTROL + 1, UINT_MAX, 0);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < NSIG; s++) signal(s, SIG_DFL);
	umask(022);
	prctl(PR_SET_TIMERSLACK, 50000UL, 0, 0, 0); // the kernel's own: the daemon's is wider, and jobs get what they have anywhere
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("make mounts private");
	link_shm();
	spare_from_oom();
	drop_bounding(NEEDED);
	if (keep_capabilities(NEEDED)) die("capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
	if (bpf) load_filter(bpf);
}

int main(int argc, char **argv) {
	const char *bpf = NULL;
	int i = 1;
	for (; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--bpf") && i + 1 < argc) {
			bpf = argv[++i];
		} else if (strcmp(argv[i], "--rootless")) { // told by each request; accepted here for the reader of ps
			fprintf(stderr, "forker: unknown argument %s\nusage: forker [--bpf FILE] [-- zygote argv...]\n", argv[i]);
			return 64;
		}
	}
	if (getpid() != 1) {
		fprintf(stderr, "forker: must be the init of a pid namespace\n");
		return 64;
	}
	char **zygote = i + 1 < argc ? argv + i + 1 : NULL;
	set_up(bpf);
	pid_t second = fork();
	if (second < 0) die("fork");
	if (!second) {
		if (!zygote) {
			struct host plain = {0};
			_exit(serve(CONTROL, &plain) ? EX_SETUP : 0);
		}
		execv(zygote[0], zygote);
		die(zygote[0]);
	}
	close(CONTROL);
	if (keep_capabilities(0)) die("capset");
	for (;;) {
		int status;
		pid_t pid = wait(&status);
		if (pid == second) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (pid < 0 && errno != EINTR) return EX_SETUP;
	}
}
