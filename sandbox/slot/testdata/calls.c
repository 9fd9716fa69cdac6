// Makes each system call whose number is an argument, with arguments that none can do anything with, and prints "number errno".
// Then it tries the other ways into the kernel that its processor has: "x32 errno", and "int80 errno" or "int80 signal N".
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int try(long nr) {
	errno = 0;
	return syscall(nr, -1L, -1L, -1L, -1L, -1L, -1L) == -1 ? errno : 0;
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 1; i < argc; i++) {
		long nr = strtol(argv[i], NULL, 10);
		int e = try(nr);
		printf("%ld %d\n", nr, e);
	}
#ifdef __x86_64__
	printf("x32 %d\n", try(0x40000000 | 39)); // getpid
	pid_t child = fork();
	if (!child) {
		long result;
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory"); // getpid of the 32-bit table
		printf("int80 %ld\n", -result);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status)) printf("int80 signal %d\n", WTERMSIG(status));
#endif
	return 0;
}
