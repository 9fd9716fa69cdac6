// probe: one attempt a run, named by the first argument. Exit status 0: it worked. 1: it was denied; errno's text is printed.
// 2: no such probe. The helpers at the end are for the conformance suite.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char zeros[256];

static int can_open(const char *path, int flags) {
	int fd = open(path, flags, 0600);
	if (fd >= 0) close(fd);
	return fd;
}

static int p_mount(void) { return mount("tmpfs", ".", "tmpfs", 0, NULL); }
static int p_bind(void) { return mount("/usr", ".", NULL, MS_BIND, NULL); }
static int p_remount(void) { return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL); }
static int p_umount(void) { return umount2("/proc", MNT_DETACH); }
static int p_pivot_root(void) { return syscall(SYS_pivot_root, ".", "."); }
static int p_chroot(void) { return chroot("."); }
static int p_unshare_user(void) { return unshare(CLONE_NEWUSER); }
static int p_unshare_mount(void) { return unshare(CLONE_NEWNS); }
static int p_unshare_net(void) { return unshare(CLONE_NEWNET); }
static int p_unshare_pid(void) { return unshare(CLONE_NEWPID); }
static int p_unshare_cgroup(void) { return unshare(CLONE_NEWCGROUP); }

static int p_clone_user(void) {
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0UL);
	if (!pid) _exit(0);
	if (pid > 0) waitpid(pid, NULL, 0);
	return pid < 0 ? -1 : 0;
}

static int p_clone3(void) {
	uint64_t args[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
	long pid = syscall(SYS_clone3, args, sizeof args);
	if (!pid) _exit(0);
	if (pid > 0) waitpid(pid, NULL, 0);
	return pid < 0 ? -1 : 0;
}

static int p_setns(void) {
	int fd = open("/proc/self/ns/mnt", O_RDONLY);
	return fd < 0 ? -1 : setns(fd, CLONE_NEWNS);
}

static int p_open_tree(void) { return syscall(428, AT_FDCWD, "/usr", 1 /* OPEN_TREE_CLONE */); }
static int p_fsopen(void) { return syscall(430, "tmpfs", 0); }
static int p_open_by_handle(void) {
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
	int id, at = open(".", O_RDONLY);
	if (name_to_handle_at(AT_FDCWD, ".", &u.h, &id, 0)) return -1;
	return open_by_handle_at(at, &u.h, O_RDONLY);
}
static int p_mknod(void) { return mknod("null", S_IFCHR | 0666, makedev(1, 3)); }
static int p_bpf(void) {
	union bpf_attr a;
	memset(&a, 0, sizeof a);
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = a.value_size = 4;
	a.max_entries = 1;
	return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a);
}
static int p_keyctl(void) { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1); }
static int p_add_key(void) { return syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_PROCESS_KEYRING); }
static int p_userfaultfd(void) { return syscall(SYS_userfaultfd, O_CLOEXEC); }
static int p_io_uring(void) {
	uint32_t params[30] = {0};
	return syscall(425, 1, params);
}
static int p_perf(void) {
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof a, .config = PERF_COUNT_SW_CPU_CLOCK};
	return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}
static int p_sethostname(void) {
	char name[65];
	gethostname(name, sizeof name);
	return sethostname(name, strlen(name)); // to what it is
}
static int p_setuid(void) { return setresuid(0, 0, 0); }
static int p_setgid(void) { return setresgid(0, 0, 0); }
static int p_settime(void) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return clock_settime(CLOCK_REALTIME, &now);
}
static int p_nice(void) {
	errno = 0;
	return nice(-5) == -1 && errno ? -1 : 0;
}
static int p_realtime(void) {
	struct sched_param p = {.sched_priority = 1};
	return sched_setscheduler(0, SCHED_FIFO, &p);
}
static int p_raise_nofile(void) {
	struct rlimit r;
	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_max++;
	return setrlimit(RLIMIT_NOFILE, &r);
}
static int p_shadow(void) { return can_open("/etc/shadow", O_RDONLY); }
static int p_root_home(void) {
	DIR *d = opendir("/root");
	int n = 0;
	if (!d) return -1;
	while (readdir(d)) n++;
	errno = ENOENT;
	return n > 2 ? 0 : -1; // an empty one of the slot's own is no escape
}
static int p_write_usr(void) { return can_open("/usr/millrace-probe", O_WRONLY | O_CREAT); }
static int p_write_etc(void) { return can_open("/etc/millrace-probe", O_WRONLY | O_CREAT); }
static int p_write_root(void) { return can_open("/millrace-probe", O_WRONLY | O_CREAT); }
static int p_write_dev(void) { return can_open("/dev/millrace-probe", O_WRONLY | O_CREAT); }
static int p_write_internals(void) { return can_open("/millrace/forker", O_WRONLY); }
static int p_write_sysctl(void) { return can_open("/proc/sys/kernel/hostname", O_WRONLY); }
static int p_core_pattern(void) { return can_open("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int p_sysrq(void) { return can_open("/proc/sysrq-trigger", O_WRONLY); }
static int p_kcore(void) { return can_open("/proc/kcore", O_RDONLY); }
static int p_dev_mem(void) { return can_open("/dev/mem", O_RDONLY); }
static int p_kmsg(void) { return can_open("/dev/kmsg", O_RDONLY); }
static int p_write_exe(void) { return can_open("/proc/self/exe", O_WRONLY); }

static int p_cgroup(void) {
	static const char *const files[] = {"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs",
	                                    "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/unified/cgroup.procs"};
	for (int i = 0; i < 4; i++) {
		if (can_open(files[i], O_WRONLY) >= 0) return 0;
	}
	return -1;
}

static int p_packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static int p_raw(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }

// An interface other than lo that is there to be used.
static int p_interfaces(void) {
	struct if_nameindex *list = if_nameindex();
	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		if (strcmp(i->if_name, "lo") && strncmp(i->if_name, "sit", 3) && strncmp(i->if_name, "tunl", 4) &&
		    strncmp(i->if_name, "ip6tnl", 6) && strncmp(i->if_name, "gre", 3) && strncmp(i->if_name, "erspan", 6)) {
			return 0;
		}
	}
	errno = ENODEV;
	return -1;
}

// Others: neither the probe nor its pid 1, which under Spec.Init is the job's own.
static int p_see_processes(void) {
	DIR *d = opendir("/proc");
	int others = 0;
	for (struct dirent *e; d && (e = readdir(d));) {
		if (isdigit(e->d_name[0]) && atoi(e->d_name) != getpid() && atoi(e->d_name) != 1) others++;
	}
	errno = ESRCH;
	return others ? 0 : -1;
}

static int p_signal_others(void) {
	for (int pid = 2; pid < 70000; pid++) {
		if (pid != getpid() && !kill(pid, 0)) return 0;
	}
	return -1;
}

static int p_ptrace_others(void) {
	for (int pid = 1; pid < 70000; pid++) {
		if (pid == getpid()) continue;
		if (!ptrace(PTRACE_SEIZE, pid, 0, 0)) {
			ptrace(PTRACE_DETACH, pid, 0, 0);
			return 0;
		}
	}
	return -1;
}

// The first pid whose environment or memory can be read, self excluded.
static int p_read_others(void) {
	char path[64];
	for (int pid = 1; pid < 70000; pid++) {
		if (pid == getpid()) continue;
		snprintf(path, sizeof path, "/proc/%d/environ", pid);
		if (can_open(path, O_RDONLY) >= 0) return 0;
		snprintf(path, sizeof path, "/proc/%d/mem", pid);
		if (can_open(path, O_RDONLY) >= 0) return 0;
	}
	return -1;
}

static int status_has(const char *key, const char *want) {
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, key, strlen(key))) continue;
		char *v = line + strlen(key) + 1;
		while (isspace(*v)) v++;
		v[strcspn(v, "\n")] = 0;
		printf("%s %s\n", key, v);
		errno = 0;
		return strcmp(v, want) ? 0 : -1;
	}
	return 0; // not found counts as failure of the wall
}
static int p_cap_eff(void) { return status_has("CapEff", "0000000000000000"); }
static int p_cap_prm(void) { return status_has("CapPrm", "0000000000000000"); }
static int p_cap_inh(void) { return status_has("CapInh", "0000000000000000"); }
static int p_cap_bnd(void) { return status_has("CapBnd", "0000000000000000"); }
static int p_cap_amb(void) { return status_has("CapAmb", "0000000000000000"); }
static int p_new_privs(void) { return status_has("NoNewPrivs", "1"); }
static int p_no_seccomp(void) { return status_has("Seccomp", "2"); }
static int p_groups(void) { return getgroups(0, NULL) > 0 ? 0 : -1; }
static int p_extra_fds(void) {
	int extra = 0;
	for (int fd = 4; fd < 4096; fd++) {
		if (fcntl(fd, F_GETFD) < 0) continue;
		printf("descriptor %d is open\n", fd);
		extra = 1;
	}
	return extra ? 0 : -1;
}

// A setuid program of the job's own making, or a root-owned one of the base system, must not give uid 0.
static int p_setuid_file(void) {
	static const char *const files[] = {"/usr/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/newgrp"};
	for (int i = 0; i < 4; i++) {
		struct stat st;
		if (stat(files[i], &st) || !(st.st_mode & S_ISUID)) continue;
		int p[2];
		if (pipe(p)) continue;
		pid_t pid = fork();
		if (!pid) {
			// AT_SECURE is set by the kernel when exec changes ids; glibc then ignores LD_SHOW_AUXV.
			dup2(p[1], 1);
			dup2(p[1], 2);
			char *argv[] = {(char *)files[i], "--version", NULL}, *env[] = {"LD_SHOW_AUXV=1", NULL};
			execve(files[i], argv, env);
			_exit(3);
		}
		close(p[1]);
		char buf[8192];
		size_t n = 0;
		for (ssize_t k; n < sizeof buf - 1 && (k = read(p[0], buf + n, sizeof buf - 1 - n)) > 0;) n += k;
		buf[n] = 0;
		close(p[0]);
		waitpid(pid, NULL, 0);
		char *euid = strstr(buf, "AT_EUID:");
		if (!euid || atoi(euid + 8) != (int)getuid()) return 0; // hidden means AT_SECURE: it did change
		errno = EPERM;
		return -1;
	}
	errno = ENOENT;
	return -1;
}

static const struct {
	const char *name;
	int (*run)(void);
} probes[] = {
#define P(x) {#x, p_##x}
	P(mount), P(bind), P(remount), P(umount), P(pivot_root), P(chroot), P(unshare_user), P(unshare_mount),
	P(unshare_net), P(unshare_pid), P(unshare_cgroup), P(clone_user), P(clone3), P(setns), P(open_tree), P(fsopen),
	P(open_by_handle), P(mknod), P(bpf), P(keyctl), P(add_key), P(userfaultfd), P(io_uring), P(perf),
	P(sethostname), P(setuid), P(setgid), P(settime), P(nice), P(realtime), P(raise_nofile), P(shadow), P(root_home),
	P(write_usr), P(write_etc), P(write_root), P(write_dev), P(write_internals), P(write_sysctl), P(core_pattern),
	P(sysrq), P(kcore), P(dev_mem), P(kmsg), P(write_exe), P(cgroup), P(packet), P(raw), P(interfaces),
	P(see_processes), P(signal_others), P(ptrace_others), P(read_others), P(cap_eff), P(cap_prm), P(cap_inh),
	P(cap_bnd), P(cap_amb), P(new_privs), P(no_seccomp), P(groups), P(extra_fds), P(setuid_file),
};

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
	if (!strcmp(what, "allocate")) return allocate(n);
	if (!strcmp(what, "forks")) return forks(n);
	if (!strcmp(what, "echo")) return echo();
	if (!strcmp(what, "exit")) return n;
	if (!strcmp(what, "daemon")) return daemon_child(argv[0], argv[2]);
	if (!strcmp(what, "signal")) return raise(n) ? 3 : 4;
	if (!strcmp(what, "show")) {
		for (int i = 0; i < argc; i++) printf("arg %s\n", argv[i]);
		for (; *env; env++) printf("env %s\n", *env);
		return 0;
	}
	for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
		if (strcmp(probes[i].name, what)) continue;
		errno = 0;
		int r = probes[i].run();
		printf("%s\n", r < 0 ? strerror(errno) : "worked");
		return r < 0 ? 1 : 0;
	}
	return 2;
}
