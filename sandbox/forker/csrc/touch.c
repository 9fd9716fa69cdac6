// Pages that every child of a zygote writes to are copied one by one, each by a fault of its own, while the job runs. What pages
// those are is learned once: a child that practises looks at which of its pages are its own. Later children copy the same ones
// in a few calls, before anybody waits for them.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_SPANS = 4096, POPULATE_READ = 22, POPULATE_WRITE = 23 }; // MADV_*, Linux 5.14
enum { READ_AT_ONCE = 512 };

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
	while (at < end) {
		size_t want = (end - at) / size;
		if (want > READ_AT_ONCE) want = READ_AT_ONCE;
		ssize_t n = pread(pagemap, entry, want * sizeof *entry, at / size * sizeof *entry);
		if (n <= 0) return;
		for (size_t i = 0; i < n / sizeof *entry; i++, at += size) {
			int present = entry[i] >> 63 & 1, file = entry[i] >> 61 & 1, own = entry[i] >> 56 & 1;
			if (!present) continue;
			if (writable && !file && own) note(f, at, size, POPULATE_WRITE);
			if (!writable && file) note(f, at, size, POPULATE_READ);
		}
	}
}

// scan looks at all private mappings of the calling process that belong to memory or to a file.
static void scan(struct found *f) {
	FILE *maps = fopen("/proc/self/maps", "re");
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char line[512];
	while (maps && pagemap >= 0 && fgets(line, sizeof line, maps)) {
		unsigned long start, end, inode;
		char mode[5];
		if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &start, &end, mode, &inode) != 4 || mode[3] != 'p') continue;
		int writable = mode[1] == 'w';
		if (mode[0] == 'r' && (writable || inode)) look(f, pagemap, start, end, writable);
	}
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

// touch copies the pages that were learned. What is not there in this child is left out.
void touch(void) {
	for (size_t i = 0; i < span_count; i++) madvise((void *)spans[i].start, spans[i].end - spans[i].start, spans[i].advice);
}
