// Programs and libraries of a zygote in its children. The kernel does not copy the part of the page table that belongs to a file that is
// only read: a fault can fill it in. Every child takes some seventy of these faults, for the same pages. Where a mapping has a page
// of its own, however, its part of the table is copied as that of memory is, which costs a tenth of the faults.
#define _GNU_SOURCE
#include "forker.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORTH = 16, LOOK = 512 }; // pages: of a mapping that are in use, and that are looked at at once

// resident says whether at least WORTH pages of a mapping are there.
static int resident(int pagemap, uintptr_t at, uintptr_t end) {
	const uintptr_t size = sysconf(_SC_PAGESIZE);
	uint64_t entry[LOOK];
	for (int count = 0; at < end;) {
		size_t want = (end - at) / size;
		if (want > LOOK) want = LOOK;
		ssize_t n = pread(pagemap, entry, want * sizeof *entry, at / size * sizeof *entry);
		if (n < (ssize_t)sizeof *entry) return 0;
		for (size_t i = 0; i < n / sizeof *entry; i++, at += size) count += entry[i] >> 63 & 1;
		if (count >= WORTH) return 1;
	}
	return 0;
}

// own gives a mapping a page of its own, by writing what is there. All of it can be written to meanwhile, or it would be taken apart;
// it stays executable, as it may be what runs.
static void own(uintptr_t at, uintptr_t end, int mode) {
	volatile char *byte = (volatile char *)at;
	if (mprotect((void *)at, end - at, mode | PROT_WRITE)) return; // a host that forbids that
	*byte = *byte;
	mprotect((void *)at, end - at, mode);
}

// text_copied has the tables of what is much used of programs and libraries copied by each fork from now on.
void text_copied(void) {
	FILE *maps = fopen("/proc/self/maps", "re");
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct {
		uintptr_t at, end;
		int mode;
	} found[64];
	int count = 0;
	char line[512];
	while (maps && pagemap >= 0 && count < 64 && fgets(line, sizeof line, maps)) {
		unsigned long from, to, inode;
		char mode[5];
		if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &from, &to, mode, &inode) != 4 || !inode) continue;
		if (mode[0] != 'r' || mode[1] == 'w' || mode[3] != 'p' || !resident(pagemap, from, to)) continue;
		found[count].at = from;
		found[count].end = to;
		found[count++].mode = PROT_READ | (mode[2] == 'x' ? PROT_EXEC : 0);
	}
	if (maps) fclose(maps);
	if (pagemap >= 0) close(pagemap);
	for (int i = 0; i < count; i++) own(found[i].at, found[i].end, found[i].mode);
}
