// How a zygote's memory is prepared for its children. Pages that every child of a zygote writes to are copied one by one, each by a fault of its own, while the job runs. What pages
// those are is learned once: a child that practises looks at which of its pages are its own. Later children copy the same ones
// before anybody waits for them.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_SPANS = 4096, POPULATE_READ = 22, POPULATE_WRITE = 23 }; // MADV_*, Linux 5.14
enum { READ_AT_ONCE = 512 };
enum { ENOUGH = 3 };                           // pages for which a call costs less than their faults do
enum { AROUND = 64 << 10 };                    // the kernel maps that much of a file that is in memory at once
enum { COLLAPSE = 25, HUGE = 2 << 20, FULL = 7 }; // MADV_*, Linux 6.1; FULL eighths of a huge page must be in use

struct span {
	uintptr_t start, end;
	int advice;
};

static struct span *spans;
static size_t span_count;

// found is what the practising child fills in.
struct found {
	size_t count;
	struct span span[MAX_SPANS];
};

static void note(struct found *f, uintptr_t page, uintptr_t size, int advice) {
	struct span *last = f->count ? &f->span[f->count - 1] : NULL;
	if (last && last->end == page && last->advice == advice) {
		last->end += size;
	} else if (f->count < MAX_SPANS) {
		f->span[f->count++] = (struct span){page, page + size, advice};
	}
}

// look goes through the pages of one mapping. Bits of an entry: 63 present, 61 a page of a file, 56 mapped by nobody else.
static void look(struct found *f, int pagemap, uintptr_t at, uintptr_t end, int writable) {
	const uintptr_t size = sysconf(_SC_PAGESIZE);
	uint64_t entry[READ_AT_ONCE];
	uintptr_t around = 0;
	while (at < end) {
		size_t want = (end - at) / size;
		if (want > READ_AT_ONCE) want = READ_AT_ONCE;
		ssize_t n = pread(pagemap, entry, want * sizeof *entry, at / size * sizeof *entry);
		if (n <= 0) return;
		for (size_t i = 0; i < n / sizeof *entry; i++, at += size) {
			int present = entry[i] >> 63 & 1, file = entry[i] >> 61 & 1, own = entry[i] >> 56 & 1;
			if (!present) continue;
			if (writable && !file && own) note(f, at, size, POPULATE_WRITE);
			if (writable || !file || at / AROUND == around) continue;
			note(f, at, size, POPULATE_READ);
			around = at / AROUND;
		}
	}
}

// next_private finds the next private mapping of the calling process that belongs to memory or to a file; 0 behind the last.
static int next_private(FILE *maps, uintptr_t *start, uintptr_t *end, int *writable, int *file) {
	char line[512];
	while (maps && fgets(line, sizeof line, maps)) {
		unsigned long from, to, inode;
		char mode[5];
		if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &from, &to, mode, &inode) != 4 || mode[3] != 'p') continue;
		*start = from, *end = to, *writable = mode[1] == 'w', *file = inode != 0;
		if (mode[0] == 'r' && (*writable || *file)) return 1;
	}
	return 0;
}

// scan notes what the calling process has of its own.
static void scan(struct found *f) {
	FILE *maps = fopen("/proc/self/maps", "re");
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), writable, file;
	uintptr_t start, end;
	while (pagemap >= 0 && next_private(maps, &start, &end, &writable, &file)) look(f, pagemap, start, end, writable);
}

// in_use counts the pages of a huge page's place that are there.
static int in_use(int pagemap, uintptr_t at, int pages) {
	uint64_t entry[READ_AT_ONCE];
	const ssize_t size = pages * sizeof *entry;
	if (pages > READ_AT_ONCE || pread(pagemap, entry, size, at / HUGE * size) != size) return 0;
	int count = 0;
	for (int i = 0; i < pages; i++) count += entry[i] >> 63 & 1;
	return count;
}

// collapse puts the memory that forks will share into huge pages where that takes hardly more of it: a fork then copies one entry
// of the page table instead of 512, and takes as many down at its end. What a job writes to is still copied page by page.
void collapse(void) {
	FILE *maps = fopen("/proc/self/maps", "re");
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), writable, file;
	uintptr_t start, end;
	const int pages = HUGE / sysconf(_SC_PAGESIZE);
	while (pagemap >= 0 && next_private(maps, &start, &end, &writable, &file)) {
		if (!writable || file) continue;
		for (uintptr_t at = (start + HUGE - 1) & ~(uintptr_t)(HUGE - 1); at + HUGE <= end; at += HUGE) {
			if (in_use(pagemap, at, pages) * 8 >= pages * FULL) madvise((void *)at, HUGE, COLLAPSE); // refused: it stays as it is
		}
	}
	if (maps) fclose(maps);
	if (pagemap >= 0) close(pagemap);
}

// touch_learn has a child practise and remembers the pages. Without /proc/self/pagemap, or on an older kernel, there is nothing
// to remember, and children take their faults when they come.
void touch_learn(void (*practise)(void *), void *arg) {
	struct found *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f == MAP_FAILED) return;
	if (!madvise(f, 1, POPULATE_READ)) {
		pid_t pid = clone_process(0);
		if (!pid) {
			practise(arg);
			scan(f);
			_exit(0);
		}
		int status;
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
		}
		if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status)) spans = malloc(f->count * sizeof *spans);
		// A copy, as a job could write to what is shared.
		if (spans) memcpy(spans, f->span, (span_count = f->count) * sizeof *spans);
	}
	munmap(f, sizeof *f);
}

static sigjmp_buf missing;

static void not_there(int signal) {
	(void)signal;
	siglongjmp(missing, 1);
}

// touch_page takes the fault of one page. For a page alone that costs two thirds of what asking the kernel for it does.
static void touch_page(uintptr_t at, int advice) {
	volatile char *byte = (volatile char *)at;
	char same = *byte;
	if (advice == POPULATE_WRITE) *byte = same;
}

// touch copies the pages that were learned. What is not there in this child is left out.
void touch(void) {
	const uintptr_t size = sysconf(_SC_PAGESIZE);
	// A handler that is left by a jump; the job has no signal blocked, and none of these handlers later.
	const struct sigaction mine = {.sa_handler = not_there, .sa_flags = SA_NODEFER};
	struct sigaction segv, bus;
	if (!span_count) return;
	sigaction(SIGSEGV, &mine, &segv);
	sigaction(SIGBUS, &mine, &bus);
	for (volatile size_t i = 0; i < span_count; i++) {
		const struct span *s = &spans[i];
		if (s->end - s->start >= ENOUGH * size) {
			madvise((void *)s->start, s->end - s->start, s->advice);
		} else if (!sigsetjmp(missing, 0)) {
			for (uintptr_t at = s->start; at < s->end; at += size) touch_page(at, s->advice);
		}
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
}
