// Makes fsync and fdatasync of the process it is preloaded into slower by FLUSH_DELAY_US microseconds, as a disk with slower flushes
// would be. PostgreSQL's own commit_delay cannot stand for that: it waits only while other transactions are active (commit_siblings),
// before the flush and not in it, so one client would never see it. Here the caller sleeps inside the flush with whatever lock it
// holds during one, so group commit works as it would on such a disk: those who come meanwhile share the next flush.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_more(void)
{
	static long us = -1;
	if (us < 0) {
		const char *text = getenv("FLUSH_DELAY_US");
		us = text ? atol(text) : 0;
	}
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };
	while (nanosleep(&t, &t) != 0)
		;
}

int fdatasync(int fd)
{
	static int (*real)(int);
	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	wait_more();
	return real(fd);
}

int fsync(int fd)
{
	static int (*real)(int);
	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	wait_more();
	return real(fd);
}
