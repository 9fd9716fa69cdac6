// What the files of the probe share. A probe returns 0 (or anything that is not negative) when what it tried worked, and -1
// with errno set when it was refused.
#ifndef PROBE_H
#define PROBE_H
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct probe {
	const char *name;
	int (*run)(void);
};
#define P(x) {#x, p_##x}

extern const struct probe kernel_probes[], power_probes[], file_probes[], other_probes[], socket_probes[], trick_probes[], bombs[];

// A thing that a process leaves behind, and how another one finds it. find also takes it away.
struct leftover {
	const char *name;
	int (*leave)(void), (*find)(void);
};
extern const struct leftover leftovers[];

extern int extra_descriptors; // how many above 3 the program found open
extern int control; // the probe runs without walls, in a mount and a UTS namespace of its own where that can be had

const char *aim(const char *name); // what the caller aims at: an environment variable; "" when it is not set
int refused(int err);              // -1 with that errno
int can_open(const char *path, int flags);
int not_refused(long result); // for calls with arguments that make no sense: any complaint about them means that it went through
int is_kin(pid_t pid); // the process itself or one of its ancestors
int victim(const char *args); // waits to be attacked
int file_has(const char *path, const char *text);
#endif
