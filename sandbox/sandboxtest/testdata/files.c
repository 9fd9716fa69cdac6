// Probes of the host's files, of /proc, /sys, control groups and devices, and of tricks with links and descriptors.
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int reads(const char *path) { return can_open(path, O_RDONLY); }
static int writes(const char *path) { return can_open(path, O_WRONLY); }
static int makes(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0) return -1;
	unlink(path);
	return fd;
}
static int has_entries(const char *path) {
	DIR *d = opendir(path);
	int n = 0;
	if (!d) return -1;
	while (readdir(d)) n++;
	return n > 2 ? 0 : refused(ENOENT); // an empty one of the slot's own is no escape
}

static int p_shadow(void) { return reads("/etc/shadow"); }
static int p_root_home(void) { return has_entries("/root"); }
static int p_var(void) { return has_entries("/var/lib"); }
static int p_run(void) { return has_entries("/run"); }
static int p_host_tmp(void) { return file_has(aim("PROBE_FILE"), aim("PROBE_SECRET")); }
static int p_host_file_proc_root(void) {
	char path[512];
	snprintf(path, sizeof path, "/proc/%d/root%s", control ? getpid() : 1, aim("PROBE_FILE"));
	return file_has(path, aim("PROBE_SECRET"));
}
static int p_host_file_dots(void) {
	char path[512];
	snprintf(path, sizeof path, "/proc/self/cwd/../../../../../../../..%s", aim("PROBE_FILE"));
	return file_has(path, aim("PROBE_SECRET"));
}
static int p_host_file_link(void) {
	if (symlink(aim("PROBE_FILE"), "link")) return -1;
	return file_has("link", aim("PROBE_SECRET"));
}
static int p_hardlink_host(void) {
	static const char *const files[] = {"/etc/passwd", "/usr/bin/env", "/millrace/forker"};
	for (int i = 0; i < 3; i++) {
		if (!link(files[i], "hard")) return 0;
	}
	return control ? link(aim("PROBE_FILE"), "hard") : -1;
}
static int p_write_usr(void) { return makes("/usr/millrace-probe"); }
static int p_write_etc(void) { return makes("/etc/millrace-probe"); }
static int p_write_root(void) { return makes("/millrace-probe"); }
static int p_write_dev(void) { return makes("/dev/millrace-probe"); }
static int p_write_run(void) { return makes("/run/millrace-probe"); }
static int p_write_var(void) { return makes("/var/millrace-probe"); }
static int p_write_proc(void) { return writes("/proc/self/../sys/kernel/hostname"); }
static int p_write_passwd(void) { return writes("/etc/passwd"); }
static int p_write_resolver(void) { return writes("/etc/resolv.conf"); }
static int p_write_internals(void) { return writes("/millrace/forker"); }
static int p_write_lib(void) { return makes("/millrace/lib/millrace-probe"); }
static int p_write_deps(void) { return makes("/deps/millrace-probe"); }
static int p_chmod_usr(void) { return chmod("/usr", 0755); }
static int p_rename_usr(void) { return not_refused(rename("/usr/no-such-file", "/usr/neither")); }
static int p_immutable(void) {
	int flags = 0, fd = open("flags", O_CREAT | O_RDWR, 0600);
	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags)) return -1;
	flags |= FS_APPEND_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags)) return -1;
	flags &= ~FS_APPEND_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

// The program file itself: opened by its caller outside, so only its owner and its bytes guard it. The process becomes another
// program first, because a running one cannot be written.
static int p_overwrite_exe(void) {
	int path = open("/proc/self/exe", O_PATH);
	if (path < 0) return -1;
	char file[64];
	struct stat st;
	snprintf(file, sizeof file, "/proc/self/fd/%d", path);
	if (fstat(path, &st)) return -1;
	if (chmod(file, 0777)) return st.st_uid == geteuid() ? refused(EROFS) : -1;
	chmod(file, st.st_mode & 07777);
	int fd = open(file, O_WRONLY);
	if (fd < 0 && errno == ETXTBSY) { // busy now: whoever waits until it ends may write, if it is not sealed
		int seals = fcntl(open(file, O_RDONLY), F_GET_SEALS);
		return seals > 0 && seals & F_SEAL_WRITE ? refused(EPERM) : 0;
	}
	if (fd < 0) return -1;
	char first;
	return pread(path, &first, 1, 0) == 1 ? 0 : (int)pwrite(fd, "\177", 1, 0);
}

static int p_write_sysctl(void) { return writes("/proc/sys/kernel/hostname"); }
static int p_read_sysctl(void) { return reads("/proc/sys/kernel/random/boot_id"); }
static int p_core_pattern(void) { return writes("/proc/sys/kernel/core_pattern"); }
static int p_modprobe_path(void) { return writes("/proc/sys/kernel/modprobe"); }
static int p_binfmt(void) { return has_entries("/proc/sys/fs/binfmt_misc") ? writes("/proc/sys/fs/binfmt_misc/register") : 0; }
static int p_ip_forward(void) { return writes("/proc/sys/net/ipv4/ip_forward"); }
static int p_sysrq(void) { return writes("/proc/sysrq-trigger"); }
static int p_kcore(void) { return reads("/proc/kcore"); }
static int p_kallsyms(void) { return reads("/proc/kallsyms"); }
static int p_proc_keys(void) { return reads("/proc/keys"); }
static int p_proc_modules(void) { return reads("/proc/modules"); }
static int p_proc_cmdline(void) { return reads("/proc/cmdline"); }
static int p_proc_meminfo(void) { return reads("/proc/vmallocinfo"); }
static int p_proc_timers(void) { return reads("/proc/timer_list"); }
static int p_proc_interrupts(void) { return reads("/proc/interrupts"); }
static int p_proc_partitions(void) { return reads("/proc/partitions"); }
static int p_proc_sysvipc(void) { return reads("/proc/sysvipc/shm"); }
static int p_proc_scsi(void) { return reads("/proc/iomem"); }
static int p_proc_net_host(void) { return file_has("/proc/net/unix", aim("PROBE_ABSTRACT") + 1); }
static int p_clear_refs(void) {
	DIR *d = opendir("/proc");
	char path[300];
	for (struct dirent *e; d && (e = readdir(d));) {
		if (atoi(e->d_name) <= 0 || is_kin(atoi(e->d_name))) continue;
		snprintf(path, sizeof path, "/proc/%s/clear_refs", e->d_name);
		if (writes(path) >= 0) return 0;
	}
	return refused(ESRCH);
}

static int p_sys(void) { return has_entries("/sys"); }
static int p_sys_kernel(void) { return has_entries("/sys/kernel"); }
static int p_sys_dmi(void) { return has_entries("/sys/class"); }
static int p_uevent_helper(void) { return writes("/sys/kernel/uevent_helper"); }
static int p_debugfs(void) { return opendir("/sys/kernel/debug") ? 0 : -1; }
static int p_sys_block(void) { return has_entries("/sys/block"); }

static int p_cgroup(void) {
	static const char *const files[] = {"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs",
	                                    "/sys/fs/cgroup/unified/cgroup.procs"};
	for (int i = 0; i < 3; i++) {
		if (writes(files[i]) >= 0) return 0;
	}
	return -1;
}
static int p_release_agent(void) {
	static const char *const files[] = {"/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/pids/release_agent",
	                                    "/sys/fs/cgroup/systemd/release_agent", "/sys/fs/cgroup/cpu/release_agent"};
	for (int i = 0; i < 4; i++) {
		if (writes(files[i]) >= 0) return 0;
	}
	return -1;
}
static int p_cgroup_make(void) {
	static const char *const dirs[] = {"/sys/fs/cgroup/millrace-probe", "/sys/fs/cgroup/memory/millrace-probe",
	                                   "/sys/fs/cgroup/unified/millrace-probe"};
	for (int i = 0; i < 3; i++) {
		if (!mkdir(dirs[i], 0755)) return rmdir(dirs[i]);
	}
	return -1;
}
// The group's place among those of the host, which a cgroup namespace hides.
static int p_cgroup_path(void) {
	char line[512];
	FILE *f = fopen("/proc/self/cgroup", "r");
	if (!f) return -1;
	while (fgets(line, sizeof line, f)) {
		char *path = strrchr(line, ':');
		if (path && strcmp(path, ":/\n") && !strstr(path, ":/..")) return 0;
	}
	return refused(ENOENT);
}

static int node(dev_t dev, mode_t kind) {
	if (mknod("node", kind | 0666, dev)) return -1;
	return kind == S_IFBLK || control ? 0 : can_open("node", O_RDWR);
}
static int p_mknod(void) { return node(makedev(1, 3), S_IFCHR); }
static int p_mknod_mem(void) { return node(makedev(1, 1), S_IFCHR); }
static int p_mknod_disk(void) { return node(makedev(254, 0), S_IFBLK); }
static int p_dev_mem(void) { return reads("/dev/mem"); }
static int p_dev_kmsg(void) { return reads("/dev/kmsg"); }
static int p_dev_fuse(void) { return can_open("/dev/fuse", O_RDWR); }
static int p_dev_tun(void) { return can_open("/dev/net/tun", O_RDWR); }
static int p_dev_kvm(void) { return can_open("/dev/kvm", O_RDWR); }
static int p_dev_loop(void) { return can_open("/dev/loop-control", O_RDWR); }
static int p_dev_ptmx(void) { return can_open("/dev/ptmx", O_RDWR); }
static int p_dev_userfaultfd(void) { return can_open("/dev/userfaultfd", O_RDWR); }
static int p_dev_vsock(void) { return can_open("/dev/vsock", O_RDONLY); }
static int p_dev_disk(void) {
	static const char *const disks[] = {"/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/xvda", "/dev/dm-0"};
	for (int i = 0; i < 5; i++) {
		if (reads(disks[i]) >= 0) return 0;
	}
	return -1;
}
// Any device but the five that every program may expect.
static int p_dev_others(void) {
	DIR *d = opendir("/dev");
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
		if (S_ISBLK(st.st_mode)) return 0;
		unsigned n = minor(st.st_rdev);
		if (S_ISCHR(st.st_mode) && !(major(st.st_rdev) == 1 && (n == 3 || n == 5 || n == 7 || n == 8 || n == 9))) return 0;
	}
	return refused(ENOENT);
}
static int p_dev_null_replace(void) {
	if (control) return can_open("/dev/null", O_RDWR) < 0 ? -1 : chmod("/dev/null", 0666);
	return chmod("/dev/null", 0600) ? unlink("/dev/null") : 0;
}

static int p_fd_walk(void) { // out of the work folder by a descriptor kept across a change of folder
	int fd = open("..", O_RDONLY | O_DIRECTORY);
	char path[512];
	for (int i = 0; i < 12; i++) {
		if (fchdir(fd) || chdir("..")) return -1;
		close(fd);
		fd = open(".", O_RDONLY | O_DIRECTORY);
	}
	snprintf(path, sizeof path, ".%s", aim("PROBE_FILE"));
	return file_has(path, aim("PROBE_SECRET"));
}
static int p_proc_fd_of_init(void) {
	if (!control && !*aim("PROBE_INIT")) return refused(ENOENT); // PID 1 is the program itself
	return opendir("/proc/1/fd") ? 0 : -1;
}
static int p_memfd_proc(void) { // what a map of the program's own leads to
	DIR *d = opendir("/proc/self/map_files");
	char path[300];
	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(path, sizeof path, "/proc/self/map_files/%s", e->d_name);
		if (e->d_name[0] != '.' && writes(path) >= 0) return 0;
	}
	return control ? (d ? 0 : -1) : refused(EPERM);
}

const struct probe file_probes[] = {
	P(shadow), P(root_home), P(var), P(run), P(host_tmp), P(host_file_proc_root), P(host_file_dots), P(host_file_link),
	P(hardlink_host), P(write_usr), P(write_etc), P(write_root), P(write_dev), P(write_run), P(write_var), P(write_proc),
	P(write_passwd), P(write_resolver), P(write_internals), P(write_lib), P(write_deps), P(chmod_usr), P(rename_usr),
	P(immutable), P(overwrite_exe), P(write_sysctl), P(read_sysctl), P(core_pattern), P(modprobe_path), P(binfmt),
	P(ip_forward), P(sysrq), P(kcore), P(kallsyms), P(proc_keys), P(proc_modules), P(proc_cmdline), P(proc_meminfo),
	P(proc_timers), P(proc_interrupts), P(proc_partitions), P(proc_sysvipc), P(proc_scsi), P(proc_net_host), P(clear_refs),
	P(sys), P(sys_kernel), P(sys_dmi), P(uevent_helper), P(debugfs), P(sys_block), P(cgroup), P(release_agent),
	P(cgroup_make), P(cgroup_path), P(mknod), P(mknod_mem), P(mknod_disk), P(dev_mem), P(dev_kmsg), P(dev_fuse), P(dev_tun),
	P(dev_kvm), P(dev_loop), P(dev_ptmx), P(dev_userfaultfd), P(dev_vsock), P(dev_disk), P(dev_others), P(dev_null_replace),
	P(fd_walk), P(proc_fd_of_init), P(memfd_proc), {0},
};
