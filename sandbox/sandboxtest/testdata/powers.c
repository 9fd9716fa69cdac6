// Probes of identity, capabilities and limits.
#define _GNU_SOURCE
#include "probe.h"

#include <ctype.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int p_setuid(void) { return setresuid(0, 0, 0); }
static int p_setgid(void) { return setresgid(0, 0, 0); }
static int p_setgroups(void) {
	gid_t g = 0;
	return setgroups(1, &g);
}
static int p_chown(void) {
	int fd = open("owned", O_CREAT | O_WRONLY, 0600);
	return fd < 0 ? -1 : fchown(fd, 0, 0);
}
static int p_nice(void) {
	errno = 0;
	return nice(-5) == -1 && errno ? -1 : 0;
}
static int p_realtime(void) {
	struct sched_param p = {.sched_priority = 1};
	return sched_setscheduler(0, SCHED_FIFO, &p);
}
static int p_deadline(void) {
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} a = {sizeof a, 6, 0, 0, 0, 1000000, 10000000, 10000000};
	return syscall(SYS_sched_setattr, 0, &a, 0);
}
static int p_ioprio(void) { return syscall(SYS_ioprio_set, 1, 0, 1 << 13 /* real time */); }

static int raised(int what) {
	struct rlimit r;
	getrlimit(what, &r);
	if (r.rlim_max == RLIM_INFINITY) {
		if (!control) return refused(ERANGE); // there is nothing to raise: the control group bounds it
		r.rlim_cur = r.rlim_max = 1 << 20;
		if (setrlimit(what, &r)) return -1;
	}
	r.rlim_max++;
	return setrlimit(what, &r);
}
static int p_raise_nofile(void) { return raised(RLIMIT_NOFILE); }
static int p_raise_core(void) { return raised(RLIMIT_CORE); }
static int p_raise_nproc(void) { return raised(RLIMIT_NPROC); }
static int p_raise_memlock(void) { return raised(RLIMIT_MEMLOCK); }
static int p_raise_msgqueue(void) { return raised(RLIMIT_MSGQUEUE); }
static int p_raise_rtprio(void) { return raised(RLIMIT_RTPRIO); }
static int p_oom_immune(void) {
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	return fd < 0 ? -1 : (int)write(fd, "-900", 4);
}
static int p_adjtimex(void) {
	if (control) return refused(ECANCELED); // it would set how the host keeps time
	struct timex t = {.modes = 0x2000 /* ADJ_NANO: what it is nearly everywhere */};
	return adjtimex(&t);
}

static int status_has(const char *key, const char *want) {
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, key, strlen(key))) continue;
		char *v = line + strlen(key) + 1;
		while (isspace(*v)) v++;
		v[strcspn(v, "\n")] = 0;
		return strcmp(v, want) ? 0 : refused(EPERM);
	}
	return 0; // not found counts as failure of the wall
}
static int p_cap_eff(void) { return status_has("CapEff", "0000000000000000"); }
static int p_cap_prm(void) { return status_has("CapPrm", "0000000000000000"); }
// Root has none of these by itself.
static void inherit(void) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct set[2];
	if (!control || syscall(SYS_capget, &head, set)) return;
	set[0].inheritable = set[0].permitted;
	syscall(SYS_capset, &head, set);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0);
}
static int p_cap_inh(void) {
	inherit();
	return status_has("CapInh", "0000000000000000");
}
static int p_cap_bnd(void) { return status_has("CapBnd", "0000000000000000"); }
static int p_cap_amb(void) {
	inherit();
	return status_has("CapAmb", "0000000000000000");
}
static int p_new_privs(void) { return status_has("NoNewPrivs", "1"); }
static int p_no_seccomp(void) { return status_has("Seccomp", "2"); }
static int p_drop_new_privs(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? refused(EPERM) : 0; }
static int p_capset(void) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct set[2] = {{.permitted = 1 << CAP_KILL, .effective = 1 << CAP_KILL}};
	return syscall(SYS_capset, &head, set);
}
static int p_file_capability(void) {
	struct vfs_cap_data c = {.magic_etc = VFS_CAP_REVISION_2};
	int fd = open("capable", O_CREAT | O_WRONLY, 0700);
	return fd < 0 ? -1 : fsetxattr(fd, "security.capability", &c, XATTR_CAPS_SZ_2, 0);
}
static int p_trusted_xattr(void) {
	int fd = open("trusted", O_CREAT | O_WRONLY, 0700);
	return fd < 0 ? -1 : fsetxattr(fd, "trusted.probe", "x", 1, 0);
}
static int p_groups(void) {
	int n = getgroups(0, NULL);
	if (control && !n) {
		gid_t g = 4;
		if (setgroups(1, &g)) return -1;
		n = getgroups(0, NULL);
	}
	return n > 0 ? 0 : refused(EPERM);
}
static int p_extra_fds(void) { return extra_descriptors ? 0 : refused(EBADF); }

// A setuid program of the base system must not give uid 0.
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
			if (control && setresuid(65534, 65534, 65534)) _exit(3);
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
		if (!euid || (!control && atoi(euid + 8) != (int)getuid())) return 0; // hidden means AT_SECURE: it did change
		return refused(EPERM);
	}
	return refused(ENOENT);
}

// What a job writes can never be a setuid program or a device, not even by mistake of somebody else.
static int lacks_flag(unsigned long flag) {
	struct statvfs s;
	if (statvfs(".", &s)) return 0;
	return s.f_flag & flag ? refused(EPERM) : 0;
}
static int p_work_suid(void) { return lacks_flag(ST_NOSUID); }
static int p_work_dev(void) { return lacks_flag(ST_NODEV); }
static int p_dumpable_init(void) {
	return control || *aim("PROBE_INIT") ? can_open("/proc/1/environ", O_RDONLY) : refused(ENOENT); // PID 1 is the program
}

const struct probe power_probes[] = {
	P(setuid), P(setgid), P(setgroups), P(chown), P(nice), P(realtime), P(deadline), P(ioprio), P(raise_nofile), P(raise_core),
	P(raise_nproc), P(raise_memlock), P(raise_msgqueue), P(raise_rtprio), P(oom_immune), P(adjtimex), P(cap_eff), P(cap_prm),
	P(cap_inh), P(cap_bnd), P(cap_amb), P(new_privs), P(no_seccomp), P(drop_new_privs), P(capset), P(file_capability),
	P(trusted_xattr), P(groups), P(extra_fds), P(setuid_file), P(work_suid), P(work_dev), P(dumpable_init), {0},
};
