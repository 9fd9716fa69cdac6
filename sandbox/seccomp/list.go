package seccomp

import (
	elastic "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// denied answer EPERM: calls that reach other processes, kernel keys, kernel programs or the machine as a whole.
var denied = []string{
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
	"bpf", "perf_event_open", "lookup_dcookie", "fanotify_init", "userfaultfd",
	"add_key", "request_key", "keyctl",
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
	"reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog",
	"settimeofday", "stime", "clock_settime", "iopl", "ioperm", "vhangup", "nfsservctl",
	"open_by_handle_at", "setns", "pivot_root", "chroot", "setdomainname", "move_pages", "migrate_pages",
}

// dropped are allowed by the default profile and needed by no runtime. ENOSYS makes programs fall back: glibc from clone3
// (whose flags a filter can not read) to clone, file libraries from native asynchronous I/O to threads.
var dropped = []string{
	"clone3",
	"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount", "mount_setattr", "umount", "listmount", "statmount",
	"lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
	"fanotify_mark", "memfd_secret", "modify_ldt", "remap_file_pages", "vmsplice", "uselib", "ustat", "sysfs",
	"socketcall", "ipc",
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
