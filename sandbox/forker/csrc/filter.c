// The filter of a job takes away again what the slot's filter must leave to the forker, and a few calls that no job needs
// whatever the slot's filter says. The kernel runs a filter once per known system call when it is loaded, so it is a search
// tree: about six comparisons instead of forty.
#define _GNU_SOURCE
#include "forker.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "millrace forker: architecture not supported"
#endif

#define CLONE_NEW_ANY (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

// Numbers from 424 on are the same on all architectures; older headers lack some names.
static int denied[] = {
	SYS_mount, SYS_umount2, SYS_unshare, SYS_setns, SYS_pivot_root, SYS_chroot, SYS_open_by_handle_at,
	SYS_keyctl, SYS_add_key, SYS_request_key, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_quotactl,
	SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
	SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_sethostname, SYS_setdomainname,
	425, 426, 427,                     // io_uring_setup, io_uring_enter, io_uring_register
	428, 429, 430, 431, 432, 433,      // open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
	442, 443, 467,                     // mount_setattr, quotactl_fd, open_tree_attr
};
enum { DENIED = sizeof denied / sizeof *denied, TO_DENY = 255 };

static struct sock_filter code[4 * DENIED + 32];
static struct sock_fprog program = {.filter = code};

static void put(uint16_t op, uint32_t k, uint8_t jt, uint8_t jf) {
	code[program.len++] = (struct sock_filter){op, jt, jf, k};
}

static void tree(const int *nr, int n) {
	if (n <= 3) {
		for (int i = 0; i < n; i++) put(BPF_JMP | BPF_JEQ | BPF_K, nr[i], TO_DENY, 0);
		put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
		return;
	}
	int at = program.len;
	put(BPF_JMP | BPF_JGE | BPF_K, nr[n / 2], 0, 0);
	tree(nr, n / 2);
	code[at].jt = program.len - at - 1;
	tree(nr + n / 2, n - n / 2);
}

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

// filter_build makes the program once, in the forker, so that a child only has to load it.
void filter_build(void) {
	qsort(denied, DENIED, sizeof *denied, by_number);
	program.len = 0;
	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	put(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	put(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0); // a foreign ABI would see other numbers
	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
#ifdef __x86_64__
	put(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, TO_DENY, 0); // x32
#endif
	put(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1); // its flags are in memory: make libc fall back to clone
	put(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	put(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3);
	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]), 0, 0);
	put(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEW_ANY, TO_DENY, 0);
	put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
	tree(denied, DENIED);
	for (int i = 0; i < program.len; i++) {
		if (BPF_CLASS(code[i].code) == BPF_JMP && code[i].jt == TO_DENY) code[i].jt = program.len - i - 1;
	}
	put(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
}

int filter_load(void) {
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
