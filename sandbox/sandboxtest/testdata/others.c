// Probes of other processes: to see, signal, trace or read them, and the victim that they are aimed at.
#define _GNU_SOURCE
#include "probe.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// targets are the processes that a probe may touch: inside all but its own kin, outside, where it would work, the victim.
static int target(pid_t pid) {
	char path[64];
	if (pid == getpid() || is_kin(pid)) return 0;
	if (!control) return 1;
	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	return !file_has(path, aim("PROBE_SECRET"));
}

// each calls fn for every pid that it could be about, seen in /proc or not, until one works.
static int each(int (*fn)(pid_t)) {
	DIR *d = opendir("/proc");
	int err = ESRCH;
	for (struct dirent *e; d && (e = readdir(d));) {
		pid_t pid = atoi(e->d_name);
		if (pid <= 0 || !target(pid)) continue;
		if (fn(pid) >= 0) return 0;
		err = errno;
	}
	if (control) return refused(err);
	for (pid_t pid = 1; pid < 5000; pid++) {
		if (pid != getpid() && !is_kin(pid) && fn(pid) >= 0) return 0;
	}
	return refused(err);
}

static int seen(pid_t pid) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	return can_open(path, O_RDONLY);
}
static int p_see_processes(void) { return each(seen); }
static int signalled(pid_t pid) { return kill(pid, 0); }
static int p_signal_others(void) { return each(signalled); }
static int queued(pid_t pid) {
	siginfo_t info = {.si_code = SI_QUEUE};
	return syscall(SYS_rt_sigqueueinfo, pid, 0, &info);
}
static int p_sigqueue_others(void) { return each(queued); }
static int pidfd(pid_t pid) {
	int fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) return -1;
	int r = syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0);
	close(fd);
	return r;
}
static int p_pidfd_others(void) { return each(pidfd); }
static int traced(pid_t pid) {
	if (ptrace(PTRACE_SEIZE, pid, 0, 0)) return -1;
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, NULL, __WALL);
	return ptrace(PTRACE_DETACH, pid, 0, 0);
}
static int p_ptrace_others(void) { return each(traced); }
static int read_file(pid_t pid, const char *name) {
	char path[64], byte;
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY);
	if (fd < 0) return -1;
	int r = strcmp(name, "mem") ? (int)read(fd, &byte, 1) : 0;
	close(fd);
	return r;
}
static int environ_of(pid_t pid) { return read_file(pid, "environ"); }
static int mem_of(pid_t pid) { return read_file(pid, "mem"); }
static int maps_of(pid_t pid) { return read_file(pid, "maps"); }
static int cmdline_of(pid_t pid) { return read_file(pid, "cmdline"); }
static int p_environ_others(void) { return each(environ_of); }
static int p_mem_others(void) { return each(mem_of); }
static int p_maps_others(void) { return each(maps_of); }
static int p_cmdline_others(void) { return each(cmdline_of); }
static int fds_of(pid_t pid) {
	char path[64], to[64];
	snprintf(path, sizeof path, "/proc/%d/fd/0", pid);
	return readlink(path, to, sizeof to);
}
static int p_fds_others(void) { return each(fds_of); }
static int root_of(pid_t pid) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/root/", pid);
	return can_open(path, O_RDONLY | O_DIRECTORY);
}
static int p_root_others(void) { return each(root_of); }
static int vm_of(pid_t pid) {
	char byte;
	struct iovec l = {&byte, 1}, r = {(void *)0x400000, 1}; // the probe is static: the victim has a page here
	return process_vm_readv(pid, &l, 1, &r, 1, 0);
}
static int p_vm_others(void) { return each(vm_of); }
static int priority_of(pid_t pid) { return setpriority(PRIO_PROCESS, pid, 19); }
static int p_priority_others(void) { return each(priority_of); }
static int affinity_of(pid_t pid) {
	cpu_set_t set;
	if (sched_getaffinity(pid, sizeof set, &set)) return -1;
	return sched_setaffinity(pid, sizeof set, &set);
}
static int p_affinity_others(void) { return each(affinity_of); }
static int limits_of(pid_t pid) {
	struct rlimit old;
	return prlimit(pid, RLIMIT_NOFILE, NULL, &old);
}
static int p_limits_others(void) { return each(limits_of); }
static int oom_of(pid_t pid) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
	return can_open(path, O_WRONLY);
}
static int p_oom_others(void) { return each(oom_of); }
static int namespace_of(pid_t pid) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	return can_open(path, O_RDONLY);
}
static int p_namespaces_others(void) { return each(namespace_of); }
static int group_of(pid_t pid) { return getpgid(pid); }
static int p_group_others(void) { return each(group_of); }

static int clock_of(pid_t pid) {
	struct timespec t;
	return clock_gettime((clockid_t)(~(unsigned)pid << 3 | 2), &t); // its processor time
}
static int p_clock_others(void) { return each(clock_of); }
static int policy_of(pid_t pid) { return sched_getscheduler(pid); }
static int p_policy_others(void) { return each(policy_of); }
static int io_of(pid_t pid) { return syscall(SYS_ioprio_get, 1, pid); }
static int p_io_others(void) { return each(io_of); }
static int list_of(pid_t pid) { // an address in its memory
	void *head;
	size_t n;
	return syscall(SYS_get_robust_list, pid, &head, &n);
}
static int p_robust_list_others(void) { return each(list_of); }
static int session_of(pid_t pid) { return getsid(pid); }
static int p_session_others(void) { return each(session_of); }
static int file_of(pid_t pid) {
	int fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) return -1;
	int r = syscall(SYS_pidfd_getfd, fd, 0, 0), err = errno;
	close(fd);
	return errno = err, r;
}
static int p_descriptor_others(void) { return each(file_of); }

static int p_victim_file(void) {
	static const char *const dirs[] = {"/work", "/tmp", "/dev/shm", "/var/tmp"};
	char path[256];
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", dirs[i], aim("PROBE_SECRET"));
		if (can_open(path, O_RDONLY) >= 0) return 0;
	}
	return refused(ENOENT);
}
static int p_victim_shm(void) { return shmget(atoi(aim("PROBE_PORT")), 0, 0); }

const struct probe other_probes[] = {
	P(see_processes), P(signal_others), P(sigqueue_others), P(pidfd_others), P(ptrace_others), P(environ_others),
	P(mem_others), P(maps_others), P(cmdline_others), P(fds_others), P(root_others), P(vm_others), P(priority_others),
	P(affinity_others), P(limits_others), P(oom_others), P(namespaces_others), P(group_others), P(clock_others), P(policy_others), P(io_others),
	P(robust_list_others), P(session_others), P(descriptor_others), P(victim_file),
	P(victim_shm), {0},
};

// victim holds a secret in its arguments, environment, memory, a file, shared memory and behind two sockets, tells the port of
// one of them, and waits until its caller hangs up on descriptor 3.
int victim(const char *secret) {
	static char kept[256];
	char path[300], byte;
	snprintf(kept, sizeof kept, "%s", secret);
	snprintf(path, sizeof path, "/tmp/%s", secret);
	int fd = open(path, O_CREAT | O_WRONLY, 0666);
	if (fd < 0) return 3;
	close(fd);
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "%s", secret);
	socklen_t n = sizeof in;
	if (bind(tcp, (void *)&in, sizeof in) || listen(tcp, 8) || getsockname(tcp, (void *)&in, &n) ||
	    bind(local, (void *)&un, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(secret)) || listen(local, 8)) {
		return 3;
	}
	int port = ntohs(in.sin_port), shm = shmget(port, 4096, IPC_CREAT | 0666);
	printf("%d\n", port);
	fflush(stdout);
	while (read(3, &byte, 1) > 0) {
	}
	unlink(path);
	if (shm >= 0) shmctl(shm, IPC_RMID, NULL);
	return 0;
}
