// Where the interpreter's small objects lie. It asks for an arena at a time, and the kernel puts those between the libraries that
// are loaded meanwhile. Lying together, and on the bounds of huge pages, nearly all of them can be collapsed (touch.c).
#define _GNU_SOURCE
#include "forker.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE = 2 << 20, PLACE = 256 << 20 };

// What CPython has called PyObjectArenaAllocator since 3.4; it is no part of the stable interface, so it is looked up by name.
struct allocator {
	void *ctx;
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *at, size_t size);
};
typedef void (*setter)(struct allocator *);

static struct allocator before;
static char *first, *next, *end;

static void *arena_alloc(void *ctx, size_t size) {
	(void)ctx;
	if ((size_t)(end - next) < size) return before.alloc(before.ctx, size);
	void *at = next;
	if (mprotect(at, size, PROT_READ | PROT_WRITE)) return NULL;
	next += size;
	return at;
}

static void arena_free(void *ctx, void *at, size_t size) {
	(void)ctx;
	if ((char *)at < first || (char *)at >= end) {
		before.free(before.ctx, at, size);
	} else if ((char *)at + size == next) {
		next = at;
		madvise(at, size, MADV_DONTNEED);
	} else {
		munmap(at, size);
	}
}

// arena_gather has the arenas that come lie in one place. Where the interpreter does not know of that, all stays as it is.
void arena_gather(void) {
	setter get = (setter)dlsym(RTLD_DEFAULT, "PyObject_GetArenaAllocator");
	setter set = (setter)dlsym(RTLD_DEFAULT, "PyObject_SetArenaAllocator");
	if (!get || !set || first) return;
	char *at = mmap(NULL, PLACE + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); // addresses only
	if (at == MAP_FAILED) return;
	first = next = (char *)(((uintptr_t)at + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	end = first + PLACE;
	if (first > at) munmap(at, first - at);
	munmap(end, at + HUGE - first);
	// What malloc takes from now on begins at such a bound too. What is skipped is never touched.
	sbrk(-(uintptr_t)sbrk(0) & (HUGE - 1));
	get(&before);
	set(&(struct allocator){NULL, arena_alloc, arena_free});
}

#ifdef __GLIBC__
enum { LARGEST = 64 << 10, SMALL = 1032, ROOM = 120 << 10 }; // SMALL: what malloc keeps ready by size; ROOM: less than it gives back

// heap_fill takes the free places between what malloc has given out, so that what a child asks for lies together in memory that is
// nobody's yet: each page of the zygote that a child writes to is copied.
void heap_fill(void) {
	malloc_trim(0); // what the boot has freed would be copied or unmapped once more by every job
	char *top = sbrk(0);
	for (size_t size = LARGEST; size >= 24; size -= 16) {
		char *volatile p; // or the compiler sees that nobody uses it
		do p = malloc(size);
		while (p && p + size < top);
		if (size > SMALL) free(p); // goes back to the rest; a small one would be given out again before that
	}
	char *volatile room = malloc(ROOM);
	free(room);
}
#else
void heap_fill(void) {}
#endif
