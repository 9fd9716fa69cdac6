// A child that is held: it is confined before anybody knows what it is for, and waits on FD_HOLD for one message, which is
// a request like that of a child that is not held. Nothing of a job's path is left but what the job itself needs.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

// place moves a received descriptor to its number. They come in ascending order, and so do the places: moved from the last to
// the first, none lands on one that has not been moved.
static void place(int from, int to) {
	if (from == to) return;
	if (dup3(from, to, O_CLOEXEC) < 0) fail("dup", "", errno);
	close(from);
}

// await returns when the job knows what it is to become; it ends the process when nobody wants it any more.
void await(struct job *j) {
	union {
		char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov[2] = {{&j->rq, sizeof j->rq}, {j->body, MAX_INLINE}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t len;
	while ((len = recvmsg(FD_HOLD, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
	}
	if (len < 0) fail("read request", "", errno);
	if (!len) _exit(0);
	int fd[MAX_FDS], n = received(&m, fd), used = 0;
	uint16_t flags = j->rq.flags;
	if (len < (ssize_t)sizeof j->rq || j->rq.version != WIRE_VERSION || j->rq.op != OP_START || flags & (F_HOLD | ~F_ALL) ||
	    m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || !whole(&j->rq, len) ||
	    n != !!(flags & F_EXEC) + !!(flags & F_PAYLOAD) + !!(flags & F_COLLECT))
		fail("read request", "", EBADMSG);
	close(FD_HOLD);
	static const struct {
		uint16_t flag;
		int at;
	} roles[] = {{F_EXEC, FD_EXEC}, {F_PAYLOAD, FD_PAYLOAD}, {F_COLLECT, FD_COLLECT}};
	int at[MAX_FDS];
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		if (flags & roles[i].flag) at[used++] = roles[i].at;
	}
	while (used--) place(fd[used], at[used]);
	unpack(j);
	write_files(j);
}
