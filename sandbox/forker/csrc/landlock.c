// Landlock is a wall behind the wall of the mount namespace: should a job ever come by a way out of the slot's root, a descriptor
// or a mount that should not be there, the kernel refuses to open files by it. Inside, what is read-only stays so even where a
// mount was made writable by mistake. The rules hang on inodes, so one for "/" covers what is mounted below it and nothing else.
//
// Version 2 (Linux 5.19) is the least that is of use: before it no process in a domain can move files from folder to folder.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Headers of older systems know neither the calls nor all rights; the numbers are the same on all architectures.
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446, RULE_PATH_BENEATH = 1, CREATE_VERSION = 1 };
enum {
	EXECUTE = 1, WRITE_FILE = 2, READ_FILE = 4, READ_DIR = 8, UP_TO_VERSION_1 = (1 << 13) - 1,
	REFER = 1 << 13, TRUNCATE = 1 << 14, IOCTL_DEV = 1 << 15,
	READ = EXECUTE | READ_FILE | READ_DIR, CHANGE = WRITE_FILE | TRUNCATE | IOCTL_DEV,
};
enum { SCOPE_ABSTRACT_SOCKETS = 1, SCOPE_SIGNALS = 2 };

struct ruleset {
	uint64_t fs, net, scoped;
};

struct rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

enum { NO_LOG_BEFORE_EXEC = 1, NO_LOG_OF_NESTED = 4 };

static struct ruleset handled; // fs is 0 where there is no Landlock
static size_t handled_size;
static uint32_t quiet; // a job that is refused things on purpose must not fill the host's log

// Where templates of builds have their writable folders, which in other slots are not there.
static const char *const build_folders[] = {"/out", "/cache"};
static int builds;

// landlock_probe asks the kernel once, in the forker, what a child can rely on.
void landlock_probe(void) {
	long version = syscall(CREATE_RULESET, NULL, 0, CREATE_VERSION);
	if (version < 2) return;
	handled.fs = UP_TO_VERSION_1 | REFER;
	if (version >= 3) handled.fs |= TRUNCATE;
	if (version >= 5) handled.fs |= IOCTL_DEV;
	if (version >= 6) handled.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
	if (version >= 7) quiet = NO_LOG_BEFORE_EXEC | NO_LOG_OF_NESTED;
	for (int i = 0; i < 2; i++) builds |= !access(build_folders[i], F_OK) << i;
	handled_size = version >= 6 ? sizeof handled : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
}

static void allow_fd(int rules, int fd, uint64_t what) {
	struct rule r = {what & handled.fs, fd};
	// EBADFD: a file of no file system, such as a memory file; those stay open to whoever has them.
	if (syscall(ADD_RULE, rules, RULE_PATH_BENEATH, &r, 0) && errno != EBADFD) fail("landlock", "", errno);
}

// allow lets the job do what to everything at or below path.
static void allow(int rules, const char *path, uint64_t what) {
	int fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
	if (fd < 0) fail("landlock", path, errno);
	allow_fd(rules, fd, what);
	close(fd);
}

// landlock_prepare makes the rules of the calling process, which has made its mounts. It returns a descriptor for
// landlock_enforce, out of the way of those that a job is given; -1 where there is no Landlock.
int landlock_prepare(void) {
	if (!handled.fs) return -1;
	int made = syscall(CREATE_RULESET, &handled, handled_size, 0);
	if (made < 0) fail("landlock", "", errno);
	int rules = fcntl(made, F_DUPFD_CLOEXEC, 64);
	if (rules < 0) fail("landlock", "", errno);
	close(made);
	allow(rules, "/", READ);
	allow(rules, "/proc", CHANGE);
	allow(rules, "/dev", CHANGE);
	allow(rules, "/work", ~0ULL);
	for (int i = 0; i < 2; i++) {
		if (builds >> i & 1) allow(rules, build_folders[i], ~0ULL);
	}
	return rules;
}

// landlock_enforce puts the calling process into the domain. The program that it was given by descriptor lies outside of the
// slot's root, and is known only now.
void landlock_enforce(const struct job *j, int rules) {
	if (rules < 0) return;
	if (j->rq.flags & F_EXEC) allow_fd(rules, FD_EXEC, EXECUTE | READ_FILE);
	if (syscall(RESTRICT_SELF, rules, quiet)) fail("landlock", "", errno);
	close(rules);
}
