// Probes of mounts, namespaces and what else the kernel offers to whoever may call it.
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int p_mount(void) { return mount("tmpfs", ".", "tmpfs", 0, NULL); }
static int p_bind(void) { return mount("/usr", ".", NULL, MS_BIND, NULL); }
static int p_remount(void) {
	if (control && mount("/usr", "/usr", NULL, MS_BIND, NULL)) return -1;
	return mount(NULL, control ? "/usr" : "/", NULL, MS_REMOUNT | MS_BIND, NULL);
}
static int p_remount_usr(void) {
	if (control && mount("/usr", "/usr", NULL, MS_BIND, NULL)) return -1;
	return mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL);
}
static int p_mount_proc(void) { return mount("proc", "/proc", "proc", 0, NULL); }
static int p_mount_sysfs(void) { return mount("sysfs", ".", "sysfs", 0, NULL); }
static int p_mount_cgroup(void) {
	if (!mount("cgroup2", ".", "cgroup2", 0, NULL)) return 0;
	return mount("cgroup", ".", "cgroup", 0, "memory"); // with it, release_agent and every group of the host
}
static int p_mount_overlay(void) { return mount("overlay", ".", "overlay", 0, "lowerdir=/usr:/etc"); }
static int p_mount_mqueue(void) { return mount("mqueue", ".", "mqueue", 0, NULL); }
static int p_mount_devpts(void) { return mount("devpts", ".", "devpts", 0, NULL); }
static int p_umount(void) { return umount2("/proc", MNT_DETACH); }
static int p_umount_work(void) { return umount2(control ? "/proc" : "/work", MNT_DETACH); }
static int p_umount_usr(void) {
	if (control && mount("/usr", "/usr", NULL, MS_BIND, NULL)) return -1;
	return umount2("/usr", MNT_DETACH);
}
static int p_pivot_root(void) {
	char here[4096];
	if (control && (!getcwd(here, sizeof here) || mount("tmpfs", here, "tmpfs", 0, NULL) || chdir(here) || mkdir("old", 0700))) return -1;
	return syscall(SYS_pivot_root, ".", control ? "old" : ".");
}
static int p_chroot(void) { return chroot("."); }
static int p_unshare_user(void) { return unshare(CLONE_NEWUSER); }
static int p_unshare_mount(void) { return unshare(CLONE_NEWNS); }
static int p_unshare_net(void) { return unshare(CLONE_NEWNET); }
static int p_unshare_pid(void) { return unshare(CLONE_NEWPID); }
static int p_unshare_cgroup(void) { return unshare(CLONE_NEWCGROUP); }
static int p_unshare_uts(void) { return unshare(CLONE_NEWUTS); }
static int p_unshare_ipc(void) { return unshare(CLONE_NEWIPC); }
static int p_unshare_time(void) { return unshare(0x80 /* CLONE_NEWTIME */); }

static int cloned(unsigned long flags) {
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0UL);
	if (!pid) _exit(0);
	if (pid > 0) waitpid(pid, NULL, 0);
	return pid < 0 ? -1 : 0;
}
static int p_clone_user(void) { return cloned(CLONE_NEWUSER); }
static int p_clone_mount(void) { return cloned(CLONE_NEWNS); }
static int p_clone_pid(void) { return cloned(CLONE_NEWPID); }
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
static int p_setns_pidfd(void) {
	int fd = syscall(SYS_pidfd_open, getpid(), 0);
	return fd < 0 ? -1 : setns(fd, CLONE_NEWUTS | CLONE_NEWIPC);
}
static int p_open_tree(void) { return syscall(428, AT_FDCWD, "/usr", 1 /* OPEN_TREE_CLONE */); }
static int p_move_mount(void) { return not_refused(syscall(429, AT_FDCWD, "/usr", AT_FDCWD, ".", 0)); }
static int p_fsopen(void) { return syscall(430, "tmpfs", 0); }
static int p_fspick(void) { return syscall(433, AT_FDCWD, "/proc", 0); }
static int p_mount_setattr(void) {
	uint64_t attr[4] = {0};
	return syscall(442, AT_FDCWD, "/", 0, attr, sizeof attr);
}
static int p_open_by_handle(void) {
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
	int id, at = open(".", O_RDONLY);
	if (name_to_handle_at(AT_FDCWD, ".", &u.h, &id, 0)) return -1;
	return open_by_handle_at(at, &u.h, O_RDONLY);
}

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
static int p_request_key(void) { return not_refused(syscall(SYS_request_key, "user", "probe-none", NULL, 0)); }
static int p_userfaultfd(void) { return syscall(SYS_userfaultfd, O_CLOEXEC); }
static int p_io_uring(void) {
	uint32_t params[30] = {0};
	return syscall(425, 1, params);
}
static int p_io_uring_enter(void) { return not_refused(syscall(426, -1, 0, 0, 0, NULL, 0)); }
static int p_aio(void) {
	unsigned long context = 0;
	return syscall(SYS_io_setup, 1, &context);
}
static int p_perf(void) {
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof a, .config = PERF_COUNT_SW_CPU_CLOCK};
	return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}
static int p_fanotify(void) { return fanotify_init(0, O_RDONLY); }
static int p_quotactl(void) { return not_refused(syscall(SYS_quotactl, 0x80000100 /* Q_SYNC */, "/dev/none", 0, NULL)); }
static int p_kexec(void) { return not_refused(syscall(SYS_kexec_load, 0, 99, NULL, 0)); }
static int p_init_module(void) { return not_refused(syscall(SYS_init_module, NULL, 0, "")); }
static int p_finit_module(void) { return not_refused(syscall(SYS_finit_module, -1, "", 0)); }
static int p_delete_module(void) { return not_refused(syscall(SYS_delete_module, "no_such_module", O_NONBLOCK)); }
static int p_reboot(void) { return syscall(SYS_reboot, 0xfee1dead, 672274793, 0 /* CAD_OFF */, NULL); }
static int p_swapon(void) { return not_refused(swapon("/no-such-file", 0)); }
static int p_acct(void) { return not_refused(acct("/no-such-file")); }
static int p_syslog(void) {
	char text[64];
	return syscall(SYS_syslog, 3, text, sizeof text); // the kernel's log
}
static int p_personality(void) { return personality(ADDR_NO_RANDOMIZE); }
static int p_kcmp(void) { return syscall(SYS_kcmp, getpid(), getpid(), 1, 0, 0); }
static int p_memfd_secret(void) { return syscall(447, 0); }
static int p_move_pages(void) {
	void *page = &control;
	int status;
	return syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0);
}
#ifdef __x86_64__
static int p_iopl(void) { return syscall(SYS_iopl, 3); }
static int p_ioperm(void) { return syscall(SYS_ioperm, 0x80, 1, 1); }
static int p_modify_ldt(void) {
	char buf[16];
	return syscall(SYS_modify_ldt, 0, buf, sizeof buf);
}
// The 32-bit and x32 entries to the kernel have numbers of their own, which a careless filter forgets.
static int p_x32(void) { return not_refused(syscall(0x40000000 + SYS_getpid)); }
static int p_int80(void) {
	pid_t pid = fork();
	if (!pid) {
		long r;
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(165 /* getresuid of i386: */), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
		_exit(r == -EPERM || r == -ENOSYS ? 1 : 0);
	}
	int status;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : refused(EPERM);
}
#endif

// The call is what is shut, so a process may not even do it to itself.
static int p_process_vm_readv(void) {
	char from[8] = "secret", to[8] = "";
	struct iovec l = {to, sizeof to}, r = {from, sizeof from};
	return process_vm_readv(getpid(), &l, 1, &r, 1, 0);
}
static int p_process_vm_writev(void) {
	char from[8] = "secret", to[8] = "";
	struct iovec l = {from, sizeof from}, r = {to, sizeof to};
	return process_vm_writev(getpid(), &l, 1, &r, 1, 0);
}
static int p_pidfd_getfd(void) {
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	return self < 0 ? -1 : syscall(SYS_pidfd_getfd, self, 1, 0);
}
static int p_ptrace_child(void) {
	pid_t pid = fork();
	if (!pid) {
		for (;;) pause();
	}
	int r = ptrace(PTRACE_SEIZE, pid, 0, 0), err = errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	errno = err;
	return r;
}
static int p_ptrace_me(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }

static int p_sethostname(void) {
	char name[65];
	gethostname(name, sizeof name);
	return sethostname(name, strlen(name)); // to what it is
}
static int p_setdomainname(void) { return setdomainname("probe", 5); }
static int p_settime(void) {
	struct timespec now;
	if (control) return refused(ECANCELED); // it would set the host's clock
	clock_gettime(CLOCK_REALTIME, &now);
	return clock_settime(CLOCK_REALTIME, &now);
}

const struct probe kernel_probes[] = {
	P(mount), P(bind), P(remount), P(remount_usr), P(mount_proc), P(mount_sysfs), P(mount_cgroup), P(mount_overlay),
	P(mount_mqueue), P(mount_devpts), P(umount), P(umount_work), P(umount_usr), P(pivot_root), P(chroot), P(unshare_user),
	P(unshare_mount), P(unshare_net), P(unshare_pid), P(unshare_cgroup), P(unshare_uts), P(unshare_ipc), P(unshare_time),
	P(clone_user), P(clone_mount), P(clone_pid), P(clone3), P(setns), P(setns_pidfd), P(open_tree), P(move_mount), P(fsopen),
	P(fspick), P(mount_setattr), P(open_by_handle), P(bpf), P(keyctl), P(add_key), P(request_key), P(userfaultfd), P(io_uring),
	P(io_uring_enter), P(aio), P(perf), P(fanotify), P(quotactl), P(kexec), P(init_module), P(finit_module), P(delete_module),
	P(reboot), P(swapon), P(acct), P(syslog), P(personality), P(kcmp), P(memfd_secret), P(move_pages),
#ifdef __x86_64__
	P(iopl), P(ioperm), P(modify_ldt), P(x32), P(int80),
#endif
	P(process_vm_readv), P(process_vm_writev), P(pidfd_getfd), P(ptrace_child), P(ptrace_me), P(sethostname),
	P(setdomainname), P(settime), {0},
};
