// Probes of tricks with what a program has rightly: descriptors, links, sockets, clocks, namespaces and calls that are new.
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *of_host(void) { return control ? aim("PROBE_FILE") : "/etc/passwd"; }

// A file that may be read, opened again for writing by way of its descriptor.
static int p_upgrade_descriptor(void) {
	char path[64];
	int fd = open(of_host(), O_RDONLY);
	if (fd < 0) return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return can_open(path, O_RDWR);
}
static int p_truncate_descriptor(void) {
	char path[64];
	int fd = open(of_host(), O_PATH);
	struct stat st;
	if (fd < 0 || fstat(fd, &st)) return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return truncate(path, st.st_size); // to what it is
}
static int p_chmod_descriptor(void) {
	char path[64];
	struct stat st;
	int fd = open(of_host(), O_PATH);
	if (fd < 0 || fstat(fd, &st)) return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return chmod(path, st.st_mode & 07777);
}
static int p_touch_descriptor(void) {
	int fd = open(of_host(), O_RDONLY);
	return fd < 0 ? -1 : futimens(fd, NULL);
}
// A second name for it in a folder where the program may do what it likes.
static int p_link_descriptor(void) {
	char path[64];
	int fd = open(control ? aim("PROBE_FILE") : "/usr/bin/env", O_PATH);
	if (fd < 0) return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW);
}
static int p_link_empty_path(void) {
	int fd = open(control ? aim("PROBE_FILE") : "/usr/bin/env", O_RDONLY);
	return fd < 0 ? -1 : linkat(fd, "", AT_FDCWD, "linked2", AT_EMPTY_PATH);
}
// Out by a link to a folder that is made between two looks.
static int p_link_swap(void) {
	char path[512];
	if (mkdir("dir", 0700) || symlink("/", "link")) return -1;
	if (syscall(SYS_renameat2, AT_FDCWD, "dir", AT_FDCWD, "link", 2 /* RENAME_EXCHANGE */)) return -1;
	snprintf(path, sizeof path, "dir%s", aim("PROBE_FILE"));
	return file_has(path, aim("PROBE_SECRET"));
}
static int p_root_descriptor(void) {
	char path[512];
	int fd = open("/", O_PATH | O_DIRECTORY);
	snprintf(path, sizeof path, "..%s", aim("PROBE_FILE"));
	int file = openat(fd, path, O_RDONLY);
	return file;
}
static int p_thread_root(void) {
	char path[512];
	snprintf(path, sizeof path, "/proc/self/task/%d/root%s", (int)syscall(SYS_gettid), aim("PROBE_FILE"));
	return file_has(path, aim("PROBE_SECRET"));
}

// A message that claims to be from root.
static int p_forged_credentials(void) {
	int pair[2], on = 1;
	char byte = 0, space[CMSG_SPACE(sizeof(struct ucred))] = {0};
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return -1;
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct ucred who = {getpid(), control ? 12345 : 0, control ? 12345 : 0};
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof who);
	memcpy(CMSG_DATA(c), &who, sizeof who);
	return sendmsg(pair[0], &m, 0) < 0 ? -1 : 0;
}
static int p_linked_socket(void) { // a service's socket, by a link in the work folder
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"};
	if (symlink(aim("PROBE_POSTGRES"), "socket")) return -1;
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un);
}
static int p_low_port(void) {
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(1)};
	return bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&in, sizeof in);
}
static int option(int level, int name, int value) {
	return setsockopt(socket(AF_INET, SOCK_DGRAM, 0), level, name, &value, sizeof value);
}
static int p_large_buffer(void) { return option(SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20); }
static int p_priority(void) { return option(SOL_SOCKET, SO_PRIORITY, 7); }
static int p_firewall(void) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r = fd < 0 ? -1 : setsockopt(fd, IPPROTO_IP, 64 /* IPT_SO_SET_REPLACE */, "", 0);
	return fd < 0 || (r && errno == ENOPROTOOPT) ? refused(ENODEV) : not_refused(r); // ENOPROTOOPT: no such filter here
}
static int p_loopback_udp(void) {
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(atoi(aim("PROBE_HOST_UDP")))};
	char answer[8];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (void *)&in, sizeof in) || send(fd, "?", 1, 0) < 0) return -1;
	struct pollfd p = {fd, POLLIN, 0};
	if (poll(&p, 1, 2000) <= 0) return refused(ETIMEDOUT);
	return recv(fd, answer, sizeof answer, 0) < 0 ? -1 : 0;
}

// Changes of the network by the one kind of netlink that is open, for reading it.
static int routing(int type, void *body, size_t size) {
	struct {
		struct nlmsghdr h;
		char body[64];
	} m = {.h = {.nlmsg_len = NLMSG_LENGTH(size), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE}};
	char answer[512];
	if (control && unshare(CLONE_NEWNET)) return -1; // not on the host
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	memcpy(m.body, body, size);
	if (fd < 0 || send(fd, &m, m.h.nlmsg_len, 0) < 0) return -1;
	if (recv(fd, answer, sizeof answer, 0) < (ssize_t)NLMSG_LENGTH(sizeof(int))) return refused(EPROTO);
	int err = ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
	return err ? refused(-err) : 0;
}
static int p_promiscuous(void) {
	struct ifinfomsg i = {.ifi_family = AF_UNSPEC, .ifi_index = 1, .ifi_change = IFF_PROMISC, .ifi_flags = IFF_PROMISC};
	return routing(RTM_NEWLINK, &i, sizeof i);
}
static int p_add_address(void) {
	struct {
		struct ifaddrmsg a;
		struct rtattr r;
		uint32_t address;
	} m = {{AF_INET, 32, 0, 0, 1}, {RTA_LENGTH(4), IFA_LOCAL}, htonl(0x0a090909)};
	return routing(RTM_NEWADDR, &m, sizeof m);
}
static int p_add_route(void) {
	struct {
		struct rtmsg r;
		struct rtattr d;
		uint32_t address;
	} m = {{.rtm_family = AF_INET, .rtm_dst_len = 32, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_BLACKHOLE, .rtm_scope = RT_SCOPE_UNIVERSE},
	       {RTA_LENGTH(4), RTA_DST}, htonl(0x0a090908)};
	return routing(RTM_NEWROUTE, &m, sizeof m);
}

// The namespace around the process's own.
static int p_outer_namespace(void) {
	char path[64] = "/proc/self/ns/pid";
	pid_t pid = 0;
	if (control) { // of a child in one of its own
		if (unshare(CLONE_NEWPID) || (pid = fork()) < 0) return -1;
		if (!pid) {
			pause();
			_exit(0);
		}
		snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
	}
	int fd = open(path, O_RDONLY), r = fd < 0 ? -1 : ioctl(fd, 0xb702 /* NS_GET_PARENT */), err = errno;
	if (pid) kill(pid, 9);
	return errno = err, r;
}

static int p_securebits(void) { return prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0); }
static int p_drop_bounding(void) { return prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0); }
static int p_alarm_clock(void) { return timerfd_create(8 /* CLOCK_REALTIME_ALARM */, 0); }
static int p_settimeofday(void) {
	struct timeval now;
	if (control) return refused(ECANCELED);
	gettimeofday(&now, NULL);
	return settimeofday(&now, NULL);
}
static int p_clock_adjtime(void) {
	long t[26] = {0x2000 /* ADJ_NANO */};
	if (control) return refused(ECANCELED);
	return syscall(SYS_clock_adjtime, CLOCK_REALTIME, t);
}

// Calls that are not listed: those that came with later kernels, and the rest of families of which one is tried elsewhere.
static int p_statmount(void) { return not_refused(syscall(457, NULL, NULL, 0, 0)); }
static int p_listmount(void) { return not_refused(syscall(458, NULL, NULL, 0, 0)); }
static int p_lsm_self(void) { return not_refused(syscall(459, 0, NULL, NULL, 0)); }
static int p_open_tree_attr(void) { return not_refused(syscall(467, -1, "", 0, NULL, 0)); }
static int p_quotactl_fd(void) { return not_refused(syscall(443, -1, 0, 0, NULL)); }
static int p_io_uring_register(void) { return not_refused(syscall(427, -1, 0, NULL, 0)); }
static int p_io_submit(void) { return not_refused(syscall(SYS_io_submit, 0, 0, NULL)); }
static int p_fanotify_mark(void) { return not_refused(syscall(SYS_fanotify_mark, -1, 0, 0, 0, NULL)); }
static int p_swapoff(void) { return not_refused(syscall(SYS_swapoff, "/no-such-file")); }
static int p_kexec_file(void) { return not_refused(syscall(320 /* x86 */, -1, -1, 0, NULL, 0)); }
static int p_migrate_pages(void) { return not_refused(syscall(SYS_migrate_pages, getpid(), 0, NULL, NULL)); }
static int p_bpf_program(void) { return not_refused(syscall(SYS_bpf, 5 /* BPF_PROG_LOAD */, NULL, 0)); }
static int p_process_madvise(void) {
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	struct iovec v = {&control, 1};
	return self < 0 ? -1 : not_refused(syscall(440, self, &v, 0, 20 /* MADV_COLD */, 0));
}

const struct probe trick_probes[] = {
	P(upgrade_descriptor), P(truncate_descriptor), P(chmod_descriptor), P(touch_descriptor), P(link_descriptor), P(link_empty_path),
	P(link_swap), P(root_descriptor), P(thread_root), P(forged_credentials), P(linked_socket), P(low_port), P(large_buffer),
	P(priority), P(firewall), P(loopback_udp), P(promiscuous), P(add_address), P(add_route), P(outer_namespace), P(securebits),
	P(drop_bounding), P(alarm_clock), P(settimeofday), P(clock_adjtime), P(statmount), P(listmount), P(lsm_self),
	P(open_tree_attr), P(quotactl_fd), P(io_uring_register), P(io_submit), P(fanotify_mark), P(swapoff),
#ifdef __x86_64__
	P(kexec_file),
#endif
	P(migrate_pages), P(bpf_program), P(process_madvise), {0},
};
