// The loop of PID 2, the same in the static program and in a booted interpreter. It reads only the fixed part of a request;
// several children may be alive at once, told apart by the caller's ids.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_JOBS = 16 };

static struct child {
	uint32_t id;
	pid_t pid;
	int report;
} children[MAX_JOBS];
static int null_fd;
static char message[sizeof(struct request) + MAX_INLINE];

// clone_process is fork by the bare system call. libc keeps the thread's id where the kernel was told to clear it at exit; told
// again, the kernel keeps that copy true in the child.
pid_t clone_process(unsigned long flags) {
	void *tid = NULL;
	flags |= SIGCHLD;
	if (!prctl(PR_GET_TID_ADDRESS, &tid, 0, 0, 0) && tid) flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
#ifdef __x86_64__
	return syscall(SYS_clone, flags, NULL, NULL, tid, 0UL);
#else
	return syscall(SYS_clone, flags, NULL, NULL, 0UL, tid);
#endif
}

static int answer(int ctl, struct reply r, const char *text) {
	char buf[sizeof r + MAX_TEXT];
	r.version = WIRE_VERSION;
	r.text_len = strnlen(text, MAX_TEXT);
	memcpy(buf, &r, sizeof r);
	memcpy(buf + sizeof r, text, r.text_len);
	return send(ctl, buf, sizeof r + r.text_len, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int refuse(int ctl, uint32_t id, const char *what, int err) {
	char text[MAX_TEXT];
	snprintf(text, sizeof text, "%s: %s", what, strerror(err));
	return answer(ctl, (struct reply){.op = OP_REFUSED, .id = id}, text);
}

// assign gives the received descriptors their roles; it returns 0 when they are not those that the flags announce.
static int assign(struct job *j, const int *fd, int n) {
	int used = 0;
	for (int i = 0; i < FD_END; i++) j->fd[i] = -1;
	uint16_t flags = j->rq.flags;
	if (n != 2 + !!(flags & F_EXEC) + !!(flags & F_PAYLOAD) + !!(flags & F_COLLECT) + !!(flags & F_HOLD)) return 0;
	j->fd[FD_NULL] = null_fd;
	j->fd[FD_JOB] = fd[used++];
	j->fd[FD_OUT] = j->fd[FD_ERR] = fd[used++];
	if (flags & F_EXEC) j->fd[FD_EXEC] = fd[used++];
	if (flags & F_PAYLOAD) j->fd[FD_PAYLOAD] = fd[used++];
	if (flags & F_COLLECT) j->fd[FD_COLLECT] = fd[used++];
	if (flags & F_HOLD) j->fd[FD_HOLD] = fd[used++];
	return 1;
}

// whole says whether a message of len bytes holds the body that it announces, or leaves it to a file.
int whole(const struct request *rq, size_t len) {
	if (rq->body_len > MAX_BODY || !rq->body_len) return 0;
	return rq->flags & F_PAYLOAD ? len == sizeof *rq : len == sizeof *rq + rq->body_len;
}

static int valid(const struct job *j, size_t len) {
	const struct request *rq = &j->rq;
	if (!rq->id || rq->flags & ~F_ALL) return 0;
	if (!(rq->flags & F_ROOTLESS) && (!rq->uid || !rq->gid)) return 0; // never a job with the slot's root
	if (rq->flags & F_HOLD) return !(rq->flags & ~(F_HOLD | F_ROOTLESS)) && !rq->body_len && len == sizeof *rq;
	return whole(rq, len);
}

static _Noreturn void be_child(struct job *j, const struct host *h) {
	confine(j);
	if (j->argc || !h->child) launch(j);
	close(FD_REPORT);
	if (j->rq.flags & F_COLLECT) close(FD_COLLECT);
	touch();
	_exit(h->child(h->arg));
}

static int start(int ctl, struct job *j, const struct host *h) {
	struct child *c = NULL;
	for (int i = 0; i < MAX_JOBS; i++) {
		if (children[i].pid && children[i].id == j->rq.id) return refuse(ctl, j->rq.id, "start", EEXIST);
		if (!children[i].pid && !c) c = &children[i];
	}
	if (!c) return refuse(ctl, j->rq.id, "start", EAGAIN);
	int report[2];
	if (pipe2(report, O_CLOEXEC | O_NONBLOCK)) return refuse(ctl, j->rq.id, "pipe", errno);
	j->fd[FD_REPORT] = report[1];
	if (h->before) h->before();
	pid_t pid = clone_process(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS);
	int err = errno;
	if (!pid) be_child(j, h);
	if (h->parent) h->parent();
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return refuse(ctl, j->rq.id, "clone", err);
	}
	*c = (struct child){j->rq.id, pid, report[0]};
	return answer(ctl, (struct reply){.op = OP_STARTED, .id = c->id, .value = pid}, "");
}

static void kill_job(uint32_t id) {
	for (int i = 0; i < MAX_JOBS; i++) {
		if (children[i].pid && children[i].id == id) kill(children[i].pid, SIGKILL);
	}
}

// heard reads what a child left in its report pipe: 'E' text 0, why it could not go on, and 'S' status, how the program of its
// minimal init ended. It returns the text, in said, and replaces status.
static const char *heard(int report, char *said, size_t size, int *status) {
	ssize_t n = read(report, said, size - 1);
	close(report);
	const char *error = "";
	said[n > 0 ? n : 0] = 0;
	for (ssize_t at = 0; at < n;) {
		if (said[at] == 'E') {
			error = said + at + 1;
			at += strlen(error) + 2;
		} else if (said[at] == 'S' && n - at >= 5) {
			if (WIFEXITED(*status) && !WEXITSTATUS(*status)) memcpy(status, said + at + 1, 4);
			at += 5;
		} else {
			break;
		}
	}
	return error;
}

// reap tells of every child that has ended. Its pid namespace is empty by then: the kernel reports no init before that.
static int reap(int ctl) {
	int bad = 0;
	for (int i = 0; i < MAX_JOBS; i++) {
		struct child *c = &children[i];
		int status;
		struct rusage u;
		if (!c->pid || wait4(c->pid, &status, WNOHANG, &u) != c->pid) continue;
		char said[MAX_TEXT + 16];
		const char *error = heard(c->report, said, sizeof said, &status);
		struct reply r = {.op = OP_EXIT, .id = c->id, .value = status};
		r.utime_us = u.ru_utime.tv_sec * 1000000ULL + u.ru_utime.tv_usec;
		r.stime_us = u.ru_stime.tv_sec * 1000000ULL + u.ru_stime.tv_usec;
		r.maxrss = (uint64_t)u.ru_maxrss << 10;
		*c = (struct child){0};
		bad |= answer(ctl, r, error);
	}
	return bad;
}

// received takes the descriptors out of a message.
int received(struct msghdr *m, int *fd) {
	int n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
		size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k && n < MAX_FDS; i++) memcpy(&fd[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

// handle takes one message; -1 ends the loop.
static int handle(int ctl, const struct host *h) {
	union {
		char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {message, sizeof message};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t len = recvmsg(ctl, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (len < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (!len) return -1; // the server is gone
	int fd[MAX_FDS], n = received(&m, fd), bad = 0;
	struct job j = {.body = message + sizeof(struct request)};
	memcpy(&j.rq, message, (size_t)len < sizeof j.rq ? (size_t)len : sizeof j.rq);
	if (len < 8 || j.rq.version != WIRE_VERSION || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		bad = -1;
	else if (j.rq.op == OP_KILL)
		kill_job(j.rq.id);
	else if (j.rq.op != OP_START || (size_t)len < sizeof j.rq)
		bad = -1;
	else if (!valid(&j, len) || !assign(&j, fd, n))
		bad = refuse(ctl, j.rq.id, "start", EBADMSG);
	else
		bad = start(ctl, &j, h);
	while (n) close(fd[--n]);
	if (len > (ssize_t)sizeof j.rq) explicit_bzero(message, len); // the next child must not find this one's environment
	return bad;
}

// end kills what is still running, for a loop that is not the child of a slot's init.
static void end(int sfd) {
	for (int i = 0; i < MAX_JOBS; i++) {
		if (!children[i].pid) continue;
		kill(children[i].pid, SIGKILL);
		waitpid(children[i].pid, NULL, 0);
		close(children[i].report);
		children[i] = (struct child){0};
	}
	if (sfd >= 0) close(sfd);
	if (null_fd >= 0) close(null_fd);
}

// serve says hello and works until the other end of ctl is closed. It returns 0 then, or -1 with errno.
int serve(int ctl, const struct host *h) {
	sigset_t chld, old;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0) return -1;
	sigprocmask(SIG_BLOCK, &chld, &old);
	int sfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	filter_build();
	landlock_probe();
	int bad = sfd < 0 ? -1 : answer(ctl, (struct reply){.op = OP_HELLO, .value = getpid()}, "");
	while (!bad) {
		struct pollfd p[2] = {{.fd = ctl, .events = POLLIN}, {.fd = sfd, .events = POLLIN}};
		if (poll(p, 2, -1) < 0 && errno != EINTR) bad = -1;
		struct signalfd_siginfo info;
		if (p[1].revents && read(sfd, &info, sizeof info) > 0) bad = reap(ctl);
		if (!bad && p[0].revents) bad = handle(ctl, h);
	}
	end(sfd);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return 0;
}
