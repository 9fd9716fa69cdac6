package seccomp

import (
	"slices"

	elastic "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// base are the system calls that every process in a slot may use: what ordinary programs do with their own memory, their own
// processes, the files and sockets that they can reach anyway, time and chance. The suites of all runtimes were traced to find
// what is missing here (see runtimes/runtimetest); what they do not use is here only in forms that other programs or other
// versions of a C library use for the same purpose.
var base = slices.Concat(
	// Files and folders.
	[]string{
		"access", "faccessat", "faccessat2", "open", "openat", "openat2", "creat", "close", "close_range",
		"read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2", "lseek",
		"dup", "dup2", "dup3", "fcntl", "flock", "ioctl", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range",
		"truncate", "ftruncate", "fallocate", "fadvise64", "readahead", "copy_file_range", "sendfile", "splice",
		"stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "getdents", "getdents64",
		"chdir", "fchdir", "getcwd", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat",
		"unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat", "mknod", "mknodat", // mknod makes named pipes
		"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "umask",
		"utime", "utimes", "futimesat", "utimensat",
		"getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr",
		"setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
		"inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "memfd_create",
	},
	// Memory.
	[]string{
		"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "mseal",
		"mlock", "mlock2", "mlockall", "munlock", "munlockall", "membarrier",
	},
	// Processes, threads and signals. The filter of jobs takes the flags of clone that make namespaces away.
	[]string{
		"clone", "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid",
		"kill", "tkill", "tgkill", "pidfd_open", "pidfd_send_signal", "pause", "restart_syscall",
		"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigreturn",
		"rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
		"getpid", "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid",
		"set_tid_address", "set_robust_list", "get_robust_list", "rseq",
		"futex", "futex_wait", "futex_wake", "futex_requeue", "futex_waitv",
		"prctl", "arch_prctl", "getrlimit", "setrlimit", "prlimit64", "getrusage", "times", "uname", "sysinfo", "getcpu",
		"getpriority", "setpriority", "ioprio_get", "ioprio_set", "sched_yield", "sched_getaffinity", "sched_setaffinity",
		"sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_setparam", "sched_getattr", "sched_setattr",
		"sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
	},
	// Users: for the forker, which becomes the job's user, and for programs that give away powers they do not have.
	[]string{
		"getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
		"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups",
		"capget", "capset",
	},
	// Walls that a process builds around itself.
	[]string{"seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"},
	// Time and chance.
	[]string{
		"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "alarm",
		"getitimer", "setitimer", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
		"timerfd_create", "timerfd_settime", "timerfd_gettime", "getrandom",
	},
	// Waiting, pipes and sockets; conditions says which sockets.
	[]string{
		"poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
		"epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4", "pipe", "pipe2",
		"bind", "connect", "listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
		"sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
	},
)

// forker are the calls that the forker needs, beyond base, to confine a job. The filter that each job gets on top of this one
// refuses them.
var forker = []string{"mount", "umount2", "unshare", "sethostname"}

// grantable are calls that a template may ask for because its language is known to use them. Nothing here reaches beyond the
// process, its IPC namespace and its own memory; it is not in base because the kernel's code behind it has a record, or is of
// use to those who attack the rest.
var grantable = []string{
	"get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind", // numeric libraries place their memory
	"pkey_alloc", "pkey_free", "pkey_mprotect", // engines guard the code that they generate
	"shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", // System V, for databases
	"msgget", "msgsnd", "msgrcv", "msgctl",
	"mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
	"tee", "vmsplice", "cachestat", "process_mrelease", "map_shadow_stack", "name_to_handle_at",
}

// denied answer EPERM, which programs take for "not allowed": calls that reach other processes, kernel keys, kernel programs or
// the machine as a whole. All other calls that are not listed, those of future kernels included, answer ENOSYS, which programs
// take for "use the older way": glibc goes from clone3 (whose flags a filter can not read) to clone, file libraries from
// io_uring to threads.
var denied = []string{
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
	"bpf", "perf_event_open", "lookup_dcookie", "fanotify_init", "userfaultfd",
	"add_key", "request_key", "keyctl",
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
	"reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog",
	"settimeofday", "clock_settime", "iopl", "ioperm", "vhangup", "nfsservctl",
	"open_by_handle_at", "setns", "pivot_root", "chroot", "setdomainname", "move_pages", "migrate_pages",
}

func equal(arg uint32, value uint64) elastic.Condition {
	return elastic.Condition{Argument: arg, Operation: elastic.Equal, Value: value}
}

// conditions are calls that are allowed for some arguments only. Network families are the four that programs use; netlink is
// for reading addresses and routes, so its other protocols, which have a long record of kernel bugs, stay shut. Without
// capabilities a job opens no raw socket whatever the family.
var conditions = []elastic.NameWithConditions{
	{Name: "socket", Conditions: elastic.ArgumentConditions{equal(0, unix.AF_UNIX)}},
	{Name: "socket", Conditions: elastic.ArgumentConditions{equal(0, unix.AF_INET)}},
	{Name: "socket", Conditions: elastic.ArgumentConditions{equal(0, unix.AF_INET6)}},
	{Name: "socket", Conditions: elastic.ArgumentConditions{equal(0, unix.AF_NETLINK), equal(2, unix.NETLINK_ROUTE)}},
	{Name: "socketpair", Conditions: elastic.ArgumentConditions{equal(0, unix.AF_UNIX)}},
	// The values that Docker allows: Linux, UNAME26 and the one that only asks.
	{Name: "personality", Conditions: elastic.ArgumentConditions{equal(0, 0)}},
	{Name: "personality", Conditions: elastic.ArgumentConditions{equal(0, 8)}},
	{Name: "personality", Conditions: elastic.ArgumentConditions{equal(0, 0x20000)}},
	{Name: "personality", Conditions: elastic.ArgumentConditions{equal(0, 0x20008)}},
	{Name: "personality", Conditions: elastic.ArgumentConditions{equal(0, 0xffffffff)}},
}
