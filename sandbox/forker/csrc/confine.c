// What a cloned child does to itself before it becomes the job. Nothing here may be reordered lightly: mounts need
// capabilities, files must belong to the job's uid, and the last steps cannot be undone.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int report_fd = -1;

// fail reports why the job could not be started as asked and ends the child.
_Noreturn void fail(const char *what, const char *path, int err) {
	char text[MAX_TEXT];
	int n = snprintf(text, sizeof text, "E%s%s%.120s: %s", what, *path ? " " : "", path, strerror(err));
	if (n >= (int)sizeof text) n = sizeof text - 1;
	ssize_t ignored = write(report_fd, text, n + 1);
	(void)ignored;
	_exit(127);
}

// share makes the work folder appear at path too, unless path is a link to it already.
static void share(const char *path) {
	struct stat st;
	if (lstat(path, &st) || !S_ISDIR(st.st_mode)) return;
	if (mount("/work", path, NULL, MS_BIND, NULL)) fail("mount", path, errno);
}

// share_folder has the folder that this slot shares with others appear in the work folder, which only the job may look into: files
// are found as the job's user meanwhile.
static void share_folder(const struct request *rq) {
	if (access("/shared", F_OK)) return;
	setfsgid(rq->gid);
	setfsuid(rq->uid);
	if (mkdir("/work/shared", 0700)) fail("mkdir", "/work/shared", errno);
	if (mount("/shared", "/work/shared", NULL, MS_BIND, NULL)) fail("mount", "/work/shared", errno);
	setfsuid(geteuid());
	setfsgid(getegid());
}

// has_gpu tells whether the slot has a GPU. The libraries of its driver look into parts of /proc that other jobs do not have.
static int has_gpu(void) { return !access("/dev/nvidiactl", F_OK); }

// mount_proc shows processes only, where the kernel can do that and the job needs no more; otherwise it covers what tells most.
static void mount_proc(void) {
	static const char *const options[] = {"hidepid=2,subset=pid", "hidepid=2", NULL};
	static const char *const covered[] = {"/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg",
	                                      "/proc/sched_debug", "/proc/timer_list", "/proc/vmallocinfo"};
	int i = has_gpu();
	for (;; i++) {
		if (!mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options[i])) break;
		if (!options[i] || errno != EINVAL) fail("mount", "/proc", errno); // EINVAL: an older kernel
	}
	for (unsigned k = 0; i > 0 && k < sizeof covered / sizeof *covered; k++)
		if (mount("/dev/null", covered[k], NULL, MS_BIND, NULL) && errno != ENOENT) fail("mount", covered[k], errno);
}

static void mount_all(const struct request *rq) {
	char data[128];
	snprintf(data, sizeof data, "mode=0700,uid=%u,gid=%u,size=%llu,nr_inodes=%u", rq->uid, rq->gid,
	         (unsigned long long)rq->work_size, rq->inodes);
	if (mount("tmpfs", "/work", "tmpfs", MS_NOSUID | MS_NODEV, data)) fail("mount", "/work", errno);
	share_folder(rq);
	share("/tmp");
	share("/dev/shm");
	mount_proc();
}

static void limit(int what, const char *name, rlim_t want) {
	struct rlimit now;
	if (getrlimit(what, &now)) fail("getrlimit", name, errno);
	if (now.rlim_max < want) want = now.rlim_max; // raising it would need CAP_SYS_RESOURCE
	now = (struct rlimit){want, want};
	if (setrlimit(what, &now)) fail("setrlimit", name, errno);
}

static void limit_all(const struct request *rq) {
	limit(RLIMIT_CORE, "core", 0);
	limit(RLIMIT_FSIZE, "fsize", RLIM_INFINITY);
	if (rq->nofile) limit(RLIMIT_NOFILE, "nofile", rq->nofile);
	if (rq->nproc) limit(RLIMIT_NPROC, "nproc", rq->nproc);
	umask(022);
	// Best effort: with it, memory pressure takes the job and never the forker.
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t ignored = write(fd, "1000", 4);
		(void)ignored;
		close(fd);
	}
}

// drop_bounding takes all capabilities but keep out of the bounding set. Without CAP_SETPCAP it stays as it is; a job has no
// other capability and no_new_privs, so nothing can be gained from it.
void drop_bounding(uint64_t keep) {
	for (int c = 0; c < 64; c++) {
		if (keep >> c & 1) continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0)) return; // EPERM, or EINVAL behind the last one
	}
}

// keep_capabilities leaves the process those of keep that it has.
int keep_capabilities(uint64_t keep) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct set[2];
	if (keep && syscall(SYS_capget, &head, set)) return -1;
	for (int i = 0; i < 2; i++) {
		uint32_t some = (uint32_t)(keep >> 32 * i);
		set[i].permitted = some ? set[i].permitted & some : 0;
		set[i].effective = set[i].permitted;
		set[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, set);
}

static void become(const struct request *rq) {
	// The slot's init has left only NEEDED, where it could; forty calls fewer.
	drop_bounding(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0) == 1 ? 0 : ~NEEDED);
	// Being uid 0 of a rootless slot is then worth nothing either. Best effort: it needs CAP_SETPCAP.
	prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0);
	if (rq->flags & F_ROOTLESS) return;
	if (setgroups(0, NULL)) fail("setgroups", "", errno);
	if (setresgid(rq->gid, rq->gid, rq->gid)) fail("setresgid", "", errno);
	if (setresuid(rq->uid, rq->uid, rq->uid)) fail("setresuid", "", errno);
}

// confine returns when the calling process is a job that has lost every power it does not need.
void confine(struct job *j) {
	place_descriptors(j);
	int hold = j->rq.flags & F_HOLD;
	if (!hold) unpack(j);
	setsid();
	mount_all(&j->rq);
	int rules = landlock_prepare(); // before the number of descriptors is limited
	if (sethostname("millrace", 8)) fail("sethostname", "", errno);
	limit_all(&j->rq);
	become(&j->rq);
	if (chdir("/work")) fail("chdir", "/work", errno); // root without CAP_DAC_OVERRIDE could not
	if (!hold) write_files(j);
	if (keep_capabilities(0)) fail("capset", "", errno);
	// Undone by exec, so it guards zygote children and the init. The libraries of a GPU's driver name their threads by files in
	// /proc, which then would not be the job's; such a slot has one job in its life.
	prctl(PR_SET_DUMPABLE, has_gpu(), 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs", "", errno);
	if (filter_load()) fail("seccomp", "", errno);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (hold) await(j);
	landlock_enforce(j, rules);
}
