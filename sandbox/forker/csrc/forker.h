// forker: starts confined jobs inside a slot. The contract is in ../doc.go, the Go half of the protocol in ../wire.go.
//
//   main.c    PID 1 of the slot (static program only)
//   loop.c    PID 2: reads requests, clones children, reports their ends
//   confine.c what a child does before it becomes the job
//   launch.c  the job's body: its files, its descriptors, exec, the minimal init of Spec.Init
//   hold.c    a child that is confined first and told what to become later
//   filter.c  the seccomp filter that every job gets on top of the slot's
//   landlock.c a second wall around the files that a job can open
//   touch.c   how a zygote's memory is laid out for its children, and what of it they copy ahead of their jobs
//   arena.c   where the objects of an interpreter lie (extension only)
//   python.c  the CPython extension: the same loop inside a booted interpreter
#ifndef MILLRACE_FORKER_H
#define MILLRACE_FORKER_H

#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WIRE_VERSION = 1 };
enum { OP_START = 1, OP_KILL = 2, OP_HELLO = 0x81, OP_STARTED = 0x82, OP_EXIT = 0x83, OP_REFUSED = 0x84 };
enum { F_INIT = 1, F_ROOTLESS = 2, F_EXEC = 4, F_PAYLOAD = 8, F_COLLECT = 16, F_HOLD = 32, F_ALL = 63 };
enum { MAX_INLINE = 64 << 10, MAX_BODY = 64 << 20, MAX_COLLECT = 16 << 20, MAX_TEXT = 200, MAX_FDS = 5 };

// What the server sends. Little-endian, like every machine this runs on; a body of body_len bytes follows, or comes in a file.
struct request {
	uint8_t op, version;
	uint16_t flags;
	uint32_t id, uid, gid, nofile, nproc;
	uint64_t work_size;
	uint32_t inodes, body_len;
};
_Static_assert(sizeof(struct request) == 40, "wire format");

// What the server gets, with text_len bytes of text behind it.
struct reply {
	uint8_t op, version;
	uint16_t text_len;
	uint32_t id;
	int32_t value; // OP_HELLO, OP_STARTED: a pid; OP_EXIT: a wait status
	uint32_t pad;
	uint64_t utime_us, stime_us, maxrss;
};
_Static_assert(sizeof(struct reply) == 40, "wire format");

// Where a child keeps its descriptors; all but the first four are close-on-exec.
enum { FD_NULL, FD_OUT, FD_ERR, FD_JOB, FD_REPORT, FD_EXEC, FD_PAYLOAD, FD_COLLECT, FD_HOLD, FD_END };

// A job as its own process sees it. The strings point into body.
struct job {
	struct request rq;
	char *body;
	int fd[FD_END]; // as received; -1 where there is none
	uint32_t argc, envc, filec;
	char **argv, **env;
	char *files; // first of filec encoded files
	char *collect;
};

// The capabilities that a forker needs; a job has none.
#define CAP(name) (1ULL << CAP_##name)
#define NEEDED (CAP(SYS_ADMIN) | CAP(SETUID) | CAP(SETGID) | CAP(KILL) | CAP(SETPCAP))

struct msghdr;

// A host program that embeds the loop; all NULL in the static program.
struct host {
	void (*before)(void);         // before a clone
	void (*parent)(void);         // after it, in the parent
	int (*child)(void *);         // in the confined child of a request without argv; returns its exit status
	void *arg;
};

extern int report_fd; // where fail writes: FD_REPORT once the descriptors are in place

int serve(int ctl, const struct host *h);
pid_t clone_process(unsigned long flags);
void confine(struct job *j);
void await(struct job *j);
int received(struct msghdr *m, int *fd);
int whole(const struct request *rq, size_t len);
void unpack(struct job *j);
void place_descriptors(struct job *j);
void write_files(struct job *j);
_Noreturn void launch(struct job *j);
_Noreturn void fail(const char *what, const char *path, int err);
void drop_bounding(uint64_t keep);
int keep_capabilities(uint64_t keep);
void touch_learn(void (*practise)(void *), void *arg);
void touch(void);
void collapse(void);
void arena_gather(void);
void heap_fill(void);
int environ_take(char *block, size_t size);
void filter_build(void);
int filter_load(void);
void landlock_probe(void);
int landlock_prepare(void);
void landlock_enforce(const struct job *j, int rules);

#endif
