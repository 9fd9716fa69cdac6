// Bombs: each takes far more of one thing than the caller's limits leave (see bombLimits in bombs.go), and little enough to do a
// host without limits no harm, which is the control. One that is ended by the kernel was refused.
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MB = 1 << 20, MUCH = 320, FORKS = 300, FILES = 3500, DESCRIPTORS = 500, LOCKED = 64, WEIGHT = 112 };

static int b_memory(void) {
	for (int i = 0; i < MUCH; i++) {
		char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) return -1;
		memset(p, 1, MB);
	}
	return 0;
}
static int fill(int fd) {
	static char block[MB];
	if (fd < 0) return -1;
	memset(block, 1, sizeof block);
	for (int i = 0; i < MUCH; i++) {
		ssize_t n = write(fd, block, sizeof block);
		if (n < 0) return -1;
		if (n < MB) return refused(ENOSPC);
	}
	return 0;
}
static int filled(const char *path) {
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	int r = fill(fd), err = errno;
	unlink(path);
	return errno = err, r;
}
static int b_work_file(void) { return filled("full"); }
static int b_tmp_file(void) { return filled("/tmp/millrace-probe-full"); }
static int b_dev_shm(void) { return filled("/dev/shm/millrace-probe-full"); }
// The kernel ends whoever has most, and a file in memory is nobody's: with this much it is this process, and not its caller.
static void weigh(void) {
	char *p = mmap(NULL, (size_t)WEIGHT * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED) memset(p, 1, (size_t)WEIGHT * MB);
}
static int b_memfd(void) {
	weigh();
	return fill(memfd_create("full", 0));
}
static int b_fallocate(void) {
	int fd = open("reserved", O_CREAT | O_RDWR, 0600);
	return fd < 0 ? -1 : fallocate(fd, 0, 0, (off_t)MUCH * MB);
}
static int b_shared_memory(void) { // anonymous, shared: it is no file, but the kernel keeps it as one
	char *p = mmap(NULL, (size_t)MUCH * MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) return -1;
	memset(p, 1, (size_t)MUCH * MB);
	return 0;
}
static int b_sysv_shm(void) {
	int id = shmget(IPC_PRIVATE, (size_t)MUCH * MB, IPC_CREAT | 0600);
	if (id < 0) return -1;
	char *p = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	if (p == (void *)-1) return -1;
	memset(p, 1, (size_t)MUCH * MB);
	return 0;
}
static int b_locked(void) {
	struct rlimit r;
	void *p = mmap(NULL, (size_t)LOCKED * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || !mlock(p, (size_t)LOCKED * MB)) return p == MAP_FAILED ? -1 : 0;
	getrlimit(RLIMIT_MEMLOCK, &r);
	return refused(r.rlim_cur < (rlim_t)LOCKED * MB ? EPERM : errno); // the kernel says that there is no memory
}
static int b_inodes(void) {
	char name[32];
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "%d", i);
		int fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0) return -1;
		close(fd);
	}
	return 0;
}
static int b_links(void) { // names cost memory too, whether or not they are files of their own
	char name[32], to[48]; // short enough to be no block of a disk
	memset(to, 'x', sizeof to);
	to[sizeof to - 1] = 0;
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "l%d", i);
		if (symlink(to, name)) return -1;
	}
	return 0;
}
static int b_forks(void) {
	int r = 0, err = 0, made = 0;
	pid_t group = 0;
	for (; made < FORKS; made++) {
		pid_t pid = fork();
		if (pid < 0) {
			r = -1, err = errno;
			break;
		}
		if (!pid) {
			setpgid(0, group);
			pause();
			_exit(0);
		}
		if (!group) group = pid;
		setpgid(pid, group);
	}
	if (group) kill(-group, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0) {
	}
	return errno = err, r;
}
static void *waits(void *unused) {
	pause();
	return unused;
}
static int b_threads(void) {
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 64 << 10);
	for (int i = 0; i < FORKS; i++) {
		pthread_t t;
		int err = pthread_create(&t, &a, waits, NULL);
		if (err) return refused(err);
	}
	return 0;
}
static int b_descriptors(void) {
	for (int i = 0; i < DESCRIPTORS; i++) {
		if (open("/dev/null", O_RDONLY) < 0) return -1;
	}
	return 0;
}
static int b_file_of_any_size(void) { // a hole costs nothing until it is read into memory, which is then the program's own
	int fd = open("hole", O_CREAT | O_RDWR, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)MUCH * MB)) return -1;
	char *p = mmap(NULL, (size_t)MUCH * MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) return -1;
	memset(p, 1, (size_t)MUCH * MB); // SIGBUS where the file system is full
	return 0;
}

const struct probe bombs[] = {
#define B(x) {#x, b_##x}
	B(memory), B(work_file), B(tmp_file), B(dev_shm), B(memfd), B(fallocate), B(shared_memory), B(sysv_shm), B(locked), B(inodes),
	B(links), B(forks), B(threads), B(descriptors), B(file_of_any_size), {0},
};
