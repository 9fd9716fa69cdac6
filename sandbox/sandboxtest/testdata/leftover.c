// What one process could leave for the next one in its place, and how the next one would find it. Without walls nearly all of it
// is found, which is the control.
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <mqueue.h>
#include <time.h>
#include <unistd.h>

// Names are made from the caller's secret, so that two tests at once do not find each other's.
static const char *named(const char *form) {
	static char name[8][256];
	static int i;
	i = (i + 1) % 8;
	snprintf(name[i], sizeof name[i], form, aim("PROBE_SECRET"));
	return name[i];
}
static key_t key(void) {
	unsigned k = 5381;
	for (const char *p = aim("PROBE_SECRET"); *p; p++) k = k * 33 + *p;
	return k | 1;
}

static int leave_file(const char *path) {
	int fd = open(path, O_CREAT | O_WRONLY, 0666);
	if (fd < 0) return -1;
	ssize_t n = write(fd, "left", 4);
	close(fd);
	return n == 4 ? 0 : -1;
}
static int find_file(const char *path) {
	struct stat st;
	if (lstat(path, &st)) return -1;
	return unlink(path);
}
#define A_FILE(name, path) \
	static int leave_##name(void) { return leave_file(named(path)); } \
	static int find_##name(void) { return find_file(named(path)); }
A_FILE(tmp_file, "/tmp/%s")
A_FILE(var_tmp_file, "/var/tmp/%s")
A_FILE(shm_file, "/dev/shm/%s")
A_FILE(hidden_file, "/tmp/.%s.hidden")

static int leave_work_file(void) { return leave_file(named(control ? "/tmp/%s.work" : "/work/%s")); }
static int find_work_file(void) { return find_file(named(control ? "/tmp/%s.work" : "/work/%s")); }
static int leave_directory(void) { return mkdir(named("/tmp/%s.d"), 0777); }
static int find_directory(void) { return rmdir(named("/tmp/%s.d")); }
static int leave_link(void) { return symlink("/etc", named("/tmp/%s.link")); }
static int find_link(void) { return find_file(named("/tmp/%s.link")); }
static int leave_fifo(void) { return mkfifo(named("/tmp/%s.fifo"), 0666); }
static int find_fifo(void) { return find_file(named("/tmp/%s.fifo")); }

static int leave_posix_shm(void) { return shm_open(named("/%s.posix"), O_CREAT | O_RDWR, 0666); }
static int find_posix_shm(void) { return shm_unlink(named("/%s.posix")); }
static int leave_sysv_shm(void) { return shmget(key(), 4096, IPC_CREAT | 0666); }
static int find_sysv_shm(void) {
	int id = shmget(key(), 0, 0);
	return id < 0 ? -1 : shmctl(id, IPC_RMID, NULL);
}
static int leave_sysv_sem(void) { return semget(key(), 1, IPC_CREAT | 0666); }
static int find_sysv_sem(void) {
	int id = semget(key(), 0, 0);
	return id < 0 ? -1 : semctl(id, 0, IPC_RMID);
}
static int leave_sysv_msg(void) { return msgget(key(), IPC_CREAT | 0666); }
static int find_sysv_msg(void) {
	int id = msgget(key(), 0);
	return id < 0 ? -1 : msgctl(id, IPC_RMID, NULL);
}
static int leave_posix_mq(void) { return mq_open(named("/%s"), O_CREAT | O_RDWR, 0666, NULL); }
static int find_posix_mq(void) { return mq_unlink(named("/%s")); }

// kept starts a process that outlives this one: forked twice, in a session of its own, deaf to signals, with a name that says what it
// holds. hold runs in it before it is said to be there.
static int kept(const char *what, int (*hold)(void)) {
	int ready[2];
	char ok = 1;
	if (pipe(ready)) return -1;
	for (int i = 0; i < 2; i++) ready[i] = fcntl(ready[i], F_DUPFD, 10); // out of the way of 0 to 3
	pid_t pid = fork();
	if (pid < 0) return -1;
	if (!pid) {
		setsid();
		if (fork()) _exit(0);
		for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
		prctl(PR_SET_NAME, what);
		int null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 4; fd++) dup2(null, fd);
		ok = hold && hold() < 0;
		if (write(ready[1], &ok, 1) != 1 || ok) _exit(0);
		close(ready[1]);
		alarm(0);
		for (int i = 0; i < 600; i++) poll(NULL, 0, 1000); // in case nobody ends it
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	close(ready[1]);
	ssize_t n = read(ready[0], &ok, 1);
	close(ready[0]);
	return n == 1 && !ok ? 0 : refused(EIO);
}

// gone ends the process that kept made under that name; refused when there is none.
static int gone(const char *what) {
	DIR *d = opendir("/proc");
	char path[300], name[64];
	int found = 0;
	snprintf(name, sizeof name, "%s\n", what);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (atoi(e->d_name) <= 0) continue;
		snprintf(path, sizeof path, "/proc/%s/comm", e->d_name);
		if (file_has(path, name)) continue;
		kill(atoi(e->d_name), SIGKILL);
		found = 1;
	}
	return found ? 0 : refused(ESRCH);
}

// Process names hold 15 bytes: a letter and the end of the secret, which is where secrets differ.
static const char *short_name(char letter) {
	static char name[16];
	const char *secret = aim("PROBE_SECRET");
	size_t n = strlen(secret);
	snprintf(name, sizeof name, "%c%s", letter, secret + (n > 14 ? n - 14 : 0));
	return name;
}
static int leave_daemon(void) { return kept(short_name('d'), NULL); }
static int find_daemon(void) { return gone(short_name('d')); }

static struct sockaddr_un abstract_name;
static socklen_t abstract_size(const char *form) {
	const char *name = named(form);
	memset(&abstract_name, 0, sizeof abstract_name);
	abstract_name.sun_family = AF_UNIX;
	strncpy(abstract_name.sun_path + 1, name, sizeof abstract_name.sun_path - 2);
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}
static int hold_abstract(void) {
	socklen_t n = abstract_size("left-%s");
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(fd, (void *)&abstract_name, n) || listen(fd, 4) ? -1 : fd;
}
static int leave_abstract(void) { return kept(short_name('a'), hold_abstract); }
static int find_abstract(void) {
	socklen_t n = abstract_size("left-%s");
	int r = connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&abstract_name, n), err = errno;
	gone(short_name('a'));
	errno = err;
	return r;
}
static int port(void) { return 20000 + (unsigned)key() % 10000; }
static struct sockaddr_in local(int number) {
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(number), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	return in;
}
static int hold_tcp(void) {
	struct sockaddr_in in = local(port());
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	return bind(fd, (void *)&in, sizeof in) || listen(fd, 4) ? -1 : fd;
}
static int leave_tcp(void) { return kept(short_name('t'), hold_tcp); }
static int find_tcp(void) {
	struct sockaddr_in in = local(port());
	int r = connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&in, sizeof in), err = errno;
	gone(short_name('t'));
	errno = err;
	return r;
}
static int hold_udp(void) {
	struct sockaddr_in in = local(port());
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	return bind(fd, (void *)&in, sizeof in) ? -1 : fd;
}
static int leave_udp(void) { return kept(short_name('u'), hold_udp); }
static int find_udp(void) {
	struct sockaddr_in in = local(port());
	int taken = bind(socket(AF_INET, SOCK_DGRAM, 0), (void *)&in, sizeof in) && errno == EADDRINUSE;
	gone(short_name('u'));
	return taken ? 0 : refused(ENOENT);
}
static int leave_unix(void) {
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof un.sun_path, "%s", named("/tmp/%s.s"));
	return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un);
}
static int find_unix(void) { return find_file(named("/tmp/%s.s")); }

// A name that stays in use because its socket is under way to somebody: here to the caller, behind descriptor 3.
static int leave_sent_socket(void) {
	socklen_t n = abstract_size("sent-%s");
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (control) return kept(short_name('s'), NULL); // the caller's end closes with the process: stands for a holder
	if (bind(fd, (void *)&abstract_name, n) || listen(fd, 4)) return -1;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof fd)];
	} u = {.h = {CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS}};
	memcpy(CMSG_DATA(&u.h), &fd, sizeof fd);
	struct iovec io = {"", 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u};
	return sendmsg(3, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}
static int find_sent_socket(void) {
	if (control) return gone(short_name('s'));
	socklen_t n = abstract_size("sent-%s");
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&abstract_name, n);
}

// Timers and watches belong to a process; one that could be kept keeps them.
static int hold_timer(void) {
	struct itimerspec t = {{1, 0}, {1, 0}};
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	return timerfd_settime(fd, 0, &t, NULL) ? -1 : fd;
}
static int leave_timer(void) { return kept(short_name('m'), hold_timer); }
static int find_timer(void) { return gone(short_name('m')); }
static int hold_watch(void) { return inotify_add_watch(inotify_init(), control ? "/tmp" : "/work", IN_CREATE); }
static int leave_watch(void) { return kept(short_name('w'), hold_watch); }
static int find_watch(void) { return gone(short_name('w')); }

// Without walls it is not tried at all.
static int leave_mount(void) { return control ? refused(ENOENT) : mount(aim("PROBE_SECRET"), "/tmp", "tmpfs", 0, NULL); }
static int find_mount(void) { return control ? refused(ENOENT) : file_has("/proc/self/mountinfo", aim("PROBE_SECRET")); }
static int leave_key(void) { return syscall(SYS_add_key, "user", named("%s"), "x", 1, KEY_SPEC_USER_KEYRING); }
static int find_key(void) {
	long id = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "user", named("%s"), 0);
	return id < 0 ? -1 : (int)syscall(SYS_keyctl, KEYCTL_UNLINK, id, KEY_SPEC_USER_KEYRING);
}

// A lock on a file that all see. Which one goes by the caller's secret, because others can see it too.
static int shared_file(void) {
	static char name[300];
	if (*name) return open(name, O_RDONLY);
	DIR *d = opendir("/usr/bin");
	unsigned n = 0, wanted = (unsigned)key() % 256;
	for (struct dirent *e; d && n <= wanted && (e = readdir(d));) {
		if (e->d_type == DT_REG && n++ <= wanted) snprintf(name, sizeof name, "/usr/bin/%s", e->d_name);
	}
	if (d) closedir(d);
	return open(name, O_RDONLY);
}
static int hold_lock(void) { return flock(shared_file(), LOCK_EX | LOCK_NB); }
static int leave_lock(void) { return kept(short_name('l'), hold_lock); }
static int find_lock(void) {
	int taken = flock(shared_file(), LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	gone(short_name('l'));
	return taken ? 0 : refused(ENOENT);
}

// What a process changes about itself must be as new in the next one.
static int leave_policy(void) {
	struct sched_param p = {0};
	return sched_setscheduler(0, SCHED_BATCH, &p);
}
static int find_policy(void) { return sched_getscheduler(0) == SCHED_BATCH ? 0 : refused(ENOENT); }
static int leave_slack(void) { return prctl(PR_SET_TIMERSLACK, 12345, 0, 0, 0); }
static int find_slack(void) { return prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 12345 ? 0 : refused(ENOENT); }
static int leave_descriptor(void) { return dup2(1, 77); }
static int find_descriptor(void) { return fcntl(77, F_GETFD) >= 0 ? 0 : refused(EBADF); }
static int leave_environment(void) { return setenv("PROBE_LEFT", aim("PROBE_SECRET"), 1); }
static int find_environment(void) { return getenv("PROBE_LEFT") ? 0 : refused(ENOENT); }
static int leave_umask(void) {
	umask(0177);
	return 0;
}
static int find_umask(void) {
	mode_t m = umask(022);
	umask(m);
	return m == 0177 ? 0 : refused(ENOENT);
}
static int leave_limits(void) {
	struct rlimit r = {31, 31};
	return setrlimit(RLIMIT_NOFILE, &r);
}
static int find_limits(void) {
	struct rlimit r;
	getrlimit(RLIMIT_NOFILE, &r);
	return r.rlim_max == 31 ? 0 : refused(ENOENT);
}
static int leave_niceness(void) { return setpriority(PRIO_PROCESS, 0, 11); }
static int find_niceness(void) { return getpriority(PRIO_PROCESS, 0) == 11 ? 0 : refused(ENOENT); }
static int leave_signals(void) { return signal(SIGUSR1, SIG_IGN) == SIG_ERR ? -1 : 0; }
static int find_signals(void) { return signal(SIGUSR1, SIG_DFL) == SIG_IGN ? 0 : refused(ENOENT); }

const struct leftover leftovers[] = {
#define L(x) {#x, leave_##x, find_##x}
	L(work_file), L(tmp_file), L(var_tmp_file), L(shm_file), L(hidden_file), L(directory), L(link), L(fifo), L(posix_shm),
	L(sysv_shm), L(sysv_sem), L(sysv_msg), L(posix_mq), L(daemon), L(abstract), L(tcp), L(udp), L(unix), L(sent_socket),
	L(timer), L(watch), L(mount), L(key), L(environment), L(umask), L(limits), L(niceness), L(signals),
	L(lock), L(policy), L(slack), L(descriptor), {0},
};
